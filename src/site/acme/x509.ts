import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { concat, utf8 } from '../../core/bytes.ts'
import type { Random } from '../../core/random.ts'
import { derTime } from '../../transport/tls/der.ts'
import { bitString, der, oid, pem, TAG } from './der.ts'
import { addressOctets, type Identifier } from './identifiers.ts'

/**
 * # Requests and certificates made here
 *
 * ```text
 * request (PKCS #10)     30 { 30 { 02 0 | 30 {} | key | a0 { 30 { extensionRequest | 31 { 30 { names } } } } } | ecdsa-with-SHA256 | signature }
 * certificate (RFC 5280) 30 { 30 { a0 2 | 02 serial | ecdsa-with-SHA256 | 30 {} | 30 { from | to } | subject | key | a3 { 30 { names, ... } } } | ecdsa-with-SHA256 | signature }
 * ```
 *
 * Names stand in the subjectAltName only, as RFC 9525 wants it; keys are ECDSA P-256, made on this machine.
 */
const ECDSA_SHA256 = der(TAG.sequence, oid('1.2.840.10045.4.3.2'))
const EXTENSION_REQUEST = oid('1.2.840.113549.1.9.14')
const SUBJECT_ALT_NAME = oid('2.5.29.17')
const ACME_IDENTIFIER = oid('1.3.6.1.5.5.7.1.31')
const COMMON_NAME = oid('2.5.4.3')
const NO_NAME = der(TAG.sequence)
const TRUE = der(TAG.boolean, Uint8Array.of(0xff))
const SERIAL_BYTES = 16
const UTF8_STRING = 0x0c

export function makeKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

function spki(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ type: 'spki', format: 'der' })
}

function signed(body: Uint8Array, key: KeyObject): Uint8Array {
  return der(TAG.sequence, body, ECDSA_SHA256, bitString(sign('sha256', body, key)))
}

function altNames(identifiers: readonly Identifier[]): Uint8Array {
  const names = identifiers.map(({ type, value }) => (type === 'dns' ? der(0x82, utf8(value)) : der(0x87, addressOctets(value))))
  return der(TAG.sequence, SUBJECT_ALT_NAME, der(TAG.octetString, der(TAG.sequence, ...names)))
}

/** A certificate signing request, DER. */
export function makeRequest(identifiers: readonly Identifier[], key: KeyObject): Uint8Array {
  const extensions = der(TAG.sequence, altNames(identifiers))
  const attributes = der(0xa0, der(TAG.sequence, EXTENSION_REQUEST, der(TAG.set, extensions)))
  return signed(der(TAG.sequence, der(TAG.integer, Uint8Array.of(0)), NO_NAME, spki(key), attributes), key)
}

export interface SelfSigned {
  readonly identifiers: readonly Identifier[]
  readonly key: KeyObject
  readonly notBefore: number
  readonly notAfter: number
  readonly random: Random
  /** SHA-256 of a key authorization: makes it the certificate of a TLS-ALPN-01 challenge (RFC 8737, section 3). */
  readonly acmeDigest?: Uint8Array
}

/** A certificate that its own key signed, PEM. */
export function makeSelfSigned({ identifiers, key, notBefore, notAfter, random, acmeDigest }: SelfSigned): string {
  const serial = random.bytes(SERIAL_BYTES)
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40
  const name = identifiers[0]?.value ?? ''
  const subject = der(TAG.sequence, der(TAG.set, der(TAG.sequence, COMMON_NAME, der(UTF8_STRING, utf8(name.slice(0, 64))))))
  const extensions = [altNames(identifiers)]
  if (acmeDigest !== undefined) extensions.push(der(TAG.sequence, ACME_IDENTIFIER, TRUE, der(TAG.octetString, der(TAG.octetString, acmeDigest))))
  const tbs = der(
    TAG.sequence,
    der(0xa0, der(TAG.integer, Uint8Array.of(2))),
    der(TAG.integer, serial),
    ECDSA_SHA256,
    subject,
    der(TAG.sequence, derTime(notBefore), derTime(notAfter)),
    subject,
    spki(key),
    der(0xa3, der(TAG.sequence, ...extensions)),
  )
  return pem('CERTIFICATE', concat(signed(tbs, key)))
}
