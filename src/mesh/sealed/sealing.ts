import type { PublicKey } from '../../core/bytes.ts'
import { malformed } from '../../core/codec.ts'
import { openOnce, sealOnce } from '../../core/crypto/aead.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { hpkeOpen, hpkeSeal } from '../../core/crypto/hpke.ts'
import { labeled } from '../../core/crypto/labels.ts'
import { MLDSA_SIGNATURE_BYTES } from '../../core/crypto/mldsa.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import { Secret } from '../../core/secret.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'
import { bucketOf, CONTENT_KEY_BYTES, decodeSealed, encodeBlocks, encodeHeader, joinSealed, type RecipientBlock, type SealedHeader } from './sealed-codec.ts'

/**
 * # Sealing (PN-9)
 *
 * ```text
 * wrapped = HPKE(key of the machine, info = L("icn/sealed/v1") || to DID || device || kid, aad = header, content key 32)
 * ct      = ChaCha20-Poly1305(content key, nonce 0, aad = SHA-256(header || all blocks), envelope || zeros up to the bucket)
 * ```
 *
 * A content key seals one message to one set of blocks and is forgotten. Header and blocks are part of what is authenticated, so nobody takes a block out, puts one
 * in, or gives a message another name, addressee or expiry. That the addressee stands inside the signed envelope as well stops whoever opened it from sealing it
 * anew to somebody else.
 */
const INFO_LABEL = 'icn/sealed/v1'

/** One machine of the addressee and the key it can open with. */
export interface SealTarget {
  readonly device: PublicKey
  readonly kid: Uint8Array
  readonly key: Uint8Array
}

/** Finds the secret for a block. */
export interface OpeningKeys {
  /** The caller wipes it. `undefined` when it is not, or no longer, held here. @throws KithError `STORE_FAILED`. */
  find(device: PublicKey, kid: Uint8Array): Promise<Secret | undefined>
}

/** What was inside, unverified. */
export interface Opened extends SealedHeader {
  /** Exactly, without padding. */
  readonly envelope: Uint8Array
}

/** @throws TypeError for no targets or too many. @throws KithError `MESSAGE_TOO_LARGE`, `KEY_INVALID`. */
export function sealMessage(
  envelope: Uint8Array,
  message: Pick<SealedHeader, 'to' | 'msgId' | 'expiresMs'>,
  targets: readonly SealTarget[],
  random: Random,
): Uint8Array {
  const bucket = bucketOf(envelope.length)
  if (bucket === undefined) throw new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length: envelope.length } })
  const header = encodeHeader({ ...message, bucket })
  using contentKey = Secret.random(CONTENT_KEY_BYTES, random)
  const blocks = encodeBlocks(
    targets.map(({ device, kid, key }): RecipientBlock => {
      const { enc, ciphertext } = hpkeSeal(key, { info: infoOf(message.to, device, kid), aad: header }, contentKey, random)
      return { device, kid, enc, wrapped: ciphertext }
    }),
  )
  const padded = new Uint8Array(bucket)
  padded.set(envelope)
  return joinSealed(header, blocks, sealOnce(contentKey, sha256(header, blocks), padded))
}

/**
 * Opens what was sealed to this machine.
 * @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`; `NOT_FOR_US`; `NEED_PREKEY` when it is not sealed to a key that is held here; `SEALED_INVALID`.
 */
export async function openMessage(sealed: Uint8Array, own: Did, keys: OpeningKeys): Promise<Opened> {
  const { to, msgId, expiresMs, bucket, blocks, ciphertext, encodedHeader, encodedBlocks } = decodeSealed(sealed)
  if (to !== own) throw new KithError('NOT_FOR_US')
  let opened = false
  for (const { device, kid, enc, wrapped } of blocks) {
    const seed = await keys.find(device, kid)
    if (seed === undefined) continue
    const contentKey = hpkeOpen(seed, { info: infoOf(to, device, kid), aad: encodedHeader }, { enc, ciphertext: wrapped })
    seed.wipe()
    opened = true
    if (contentKey === undefined) continue
    const padded = contentKey.length === CONTENT_KEY_BYTES ? openOnce(contentKey, sha256(encodedHeader, encodedBlocks), ciphertext) : undefined
    contentKey.wipe()
    if (padded !== undefined) return { to, msgId, expiresMs, bucket, envelope: unpad(padded) }
  }
  throw opened ? new KithError('SEALED_INVALID') : new KithError('NEED_PREKEY')
}

function infoOf(to: Did, device: Uint8Array, kid: Uint8Array): Uint8Array {
  return labeled(INFO_LABEL, didPublicKey(to), device, kid)
}

const SUITE_AT = 2
const PAYLOAD_LENGTH_AT = 68 + 1 + 32 + 24 + 8 + 2

/** A stored envelope tells its own length (PN-7); all behind it are zeros. @throws KithError `WIRE_MALFORMED`. */
function unpad(padded: Uint8Array): Uint8Array {
  let at = PAYLOAD_LENGTH_AT
  let length = 0
  for (let group = 0; ; group++) {
    const byte = padded[at++]
    if (byte === undefined || group === 4) throw malformed('length of the payload')
    length += (byte & 0x7f) * 2 ** (7 * group)
    if (byte < 0x80) break
  }
  const end = at + length + 64 + (padded[SUITE_AT] === 1 ? MLDSA_SIGNATURE_BYTES : 0)
  if (end > padded.length) throw malformed('ends too early', { wanted: end, left: padded.length })
  if (bucketOf(end) !== padded.length) throw malformed('a larger bucket than needed')
  for (let i = end; i < padded.length; i++) if (padded[i] !== 0) throw malformed('padding')
  return padded.subarray(0, end)
}
