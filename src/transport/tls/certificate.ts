import { concat, type PublicKey, type Signature } from '../../core/bytes.ts'
import { isPublicKey, verify } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import { DerReader, derTime, readTime } from './der.ts'

/**
 * # The certificate of a link key
 *
 * TLS wants a certificate; a link has nothing to say in one but its key. So every one has the same form (RFC 5280, RFC 8410), and what has another is refused:
 *
 * ```text
 * 30 81 ba
 *   30 6e                                   TBSCertificate, signed by the key itself (first byte 30: a prefix of link keys)
 *     a0 03 02 01 02                        version 3
 *     02 10 | serial 16                     random, positive
 *     30 05 06 03 2b 65 70                  Ed25519
 *     30 00                                 issuer: no name
 *     30 1e | 17 0d UTCTime | 17 0d UTCTime not before, not after (18 0f GeneralizedTime from 2050 on)
 *     30 00                                 subject: no name
 *     30 2a 30 05 06 03 2b 65 70 03 21 00 | key 32
 *   30 05 06 03 2b 65 70                    Ed25519
 *   03 41 00 | signature 64
 * ```
 *
 * No extension, so no alternative name: who the key belongs to is said by Hello, inside. The dates are real, so a certificate that was copied with its key from
 * an old backup is worth nothing.
 */
const ED25519 = Uint8Array.of(0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70)
const VERSION_3 = Uint8Array.of(0xa0, 0x03, 0x02, 0x01, 0x02)
const NO_NAME = Uint8Array.of(0x30, 0x00)
const SPKI_HEAD = concat(Uint8Array.of(0x30, 0x2a), ED25519, Uint8Array.of(0x03, 0x21, 0x00))
const SIGNATURE_HEAD = Uint8Array.of(0x03, 0x41, 0x00)
const SERIAL_BYTES = 16
/** The form above is 189 bytes; GeneralizedTime adds four. */
const MAX_BYTES = 200

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
export const CERTIFICATE_LIFE_MS: number = 90 * DAY_MS
/** A certificate that says it is good for longer was made for something else. */
const MAX_LIFE_MS = 400 * DAY_MS
/** Clocks of two machines differ. */
const LEEWAY_MS = 600_000

export interface CertificateSubject {
  readonly publicKey: PublicKey
  sign(tbs: Uint8Array): Signature
}

/** A certificate of `subject`'s key, DER. Begins an hour before `now`, ends 90 days after. */
export function makeLinkCertificate(subject: CertificateSubject, now: number, random: Random): Uint8Array {
  const serial = random.bytes(SERIAL_BYTES)
  // Positive, and no shorter than it looks.
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  const tbs = sequence(
    VERSION_3,
    Uint8Array.of(0x02, SERIAL_BYTES),
    serial,
    ED25519,
    NO_NAME,
    sequence(derTime(now - HOUR_MS), derTime(now + CERTIFICATE_LIFE_MS)),
    NO_NAME,
    SPKI_HEAD,
    subject.publicKey,
  )
  return sequence(tbs, ED25519, SIGNATURE_HEAD, subject.sign(tbs))
}

/**
 * The key of a peer's certificate, if it has exactly the form above, is signed by itself and good at `now`.
 * @throws KithError `HANDSHAKE_FAILED` with `part: 'certificate'` and a `reason`: `form`, `key`, `signature`, `not-yet`, `expired` or `life`.
 */
export function checkLinkCertificate(der: Uint8Array, now: number): PublicKey {
  if (der.length > MAX_BYTES) throw refused('form')
  const outer = new DerReader(der)
  const certificate = outer.sequence()
  const tbs = certificate?.take(0x30)
  if (certificate === undefined || tbs === undefined || outer.left > 0) throw refused('form')
  if (!certificate.expect(ED25519) || !certificate.expect(SIGNATURE_HEAD)) throw refused('form')
  const signature = certificate.raw(64)
  if (signature === undefined || certificate.left > 0) throw refused('form')
  const { key, notBefore, notAfter } = readTbs(tbs)
  if (!isPublicKey(key)) throw refused('key')
  if (!verify(key, tbs, signature)) throw refused('signature')
  if (notAfter - notBefore > MAX_LIFE_MS || notAfter <= notBefore) throw refused('life')
  if (now < notBefore - LEEWAY_MS) throw refused('not-yet')
  if (now >= notAfter) throw refused('expired')
  return Uint8Array.from(key) as PublicKey
}

function readTbs(bytes: Uint8Array): { key: Uint8Array; notBefore: number; notAfter: number } {
  const tbs = new DerReader(bytes).sequence()
  if (tbs?.expect(VERSION_3) !== true) throw refused('form')
  const serial = tbs.take(0x02)
  // Head and content: 1 to 20 bytes, positive, no superfluous zero.
  if (serial === undefined || serial.length < 3 || serial.length > 22 || (serial[2] as number) >= 0x80) throw refused('form')
  if (serial[2] === 0 && (serial.length === 3 || (serial[3] as number) < 0x80)) throw refused('form')
  if (!tbs.expect(ED25519) || !tbs.expect(NO_NAME)) throw refused('form')
  const validity = tbs.sequence()
  const notBefore = readTime(validity)
  const notAfter = readTime(validity)
  if (notBefore === undefined || notAfter === undefined || validity?.left !== 0) throw refused('form')
  if (!tbs.expect(NO_NAME) || !tbs.expect(SPKI_HEAD)) throw refused('form')
  const key = tbs.raw(32)
  if (key === undefined || tbs.left > 0) throw refused('form')
  return { key, notBefore, notAfter }
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(...parts)
  return concat(body.length < 0x80 ? Uint8Array.of(0x30, body.length) : Uint8Array.of(0x30, 0x81, body.length), body)
}

function refused(reason: string): KithError {
  return new KithError('HANDSHAKE_FAILED', 'The other side’s certificate is not one of a link key.', { details: { part: 'certificate', reason } })
}
