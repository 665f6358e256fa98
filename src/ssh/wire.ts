import { concat, type PublicKey, plain, utf8 } from '../core/bytes.ts'
import { isPublicKey, verify } from '../core/crypto/ed25519.ts'

/**
 * # SSH wire forms of keys (RFC 4251, section 5; RFC 8709; PROTOCOL.certkeys)
 *
 * ```text
 * string     uint32 length || bytes
 * key        string "ssh-ed25519" || string key(32)
 * signature  string "ssh-ed25519" || string signature(64)
 * certificate  string "ssh-ed25519-cert-v01@openssh.com" || string nonce || string key(32) || ...
 * ```
 */
export const KEY_ALGORITHM = 'ssh-ed25519'
export const CERTIFICATE_ALGORITHM = 'ssh-ed25519-cert-v01@openssh.com'
const MAX_KEY_BLOB = 16_384

export function sshString(value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === 'string' ? utf8(value) : value
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, bytes.length)
  return concat(length, bytes)
}

/** Reads `count` strings from the beginning; undefined when they are not all there. */
export function readStrings(bytes: Uint8Array, count: number): { readonly strings: readonly Uint8Array[]; readonly rest: Uint8Array } | undefined {
  const strings: Uint8Array[] = []
  let at = 0
  for (let left = count; left > 0; left--) {
    if (bytes.length - at < 4) return undefined
    const length = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
    if (bytes.length - at - 4 < length) return undefined
    strings.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return { strings, rest: bytes.subarray(at) }
}

/** The Ed25519 key in a key blob; undefined for other types, wrong lengths, points that are none and bytes behind. */
export function keyOfBlob(blob: Uint8Array): PublicKey | undefined {
  if (blob.length > MAX_KEY_BLOB) return undefined
  const read = readStrings(blob, 2)
  const [name, key] = read?.strings ?? []
  if (read === undefined || name === undefined || key === undefined || read.rest.length > 0) return undefined
  return isNamed(name, KEY_ALGORITHM) && isPublicKey(key) ? (plain(key) as PublicKey) : undefined
}

/** The subject's key in a certificate. Whether the certificate holds is the identity provider's matter. */
export function keyOfCertificate(blob: Uint8Array): PublicKey | undefined {
  if (blob.length > MAX_KEY_BLOB) return undefined
  const [name, , key] = readStrings(blob, 3)?.strings ?? []
  if (name === undefined || key === undefined) return undefined
  return isNamed(name, CERTIFICATE_ALGORITHM) && isPublicKey(key) ? (plain(key) as PublicKey) : undefined
}

/** Whether `signature`, bare or with its algorithm in front, is `key`'s over `message`. */
export function verifySsh(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  const bare = bareSignature(signature)
  return bare !== undefined && verify(key, message, bare)
}

function bareSignature(signature: Uint8Array): Uint8Array | undefined {
  if (signature.length === 64) return signature
  const read = readStrings(signature, 2)
  const [name, bytes] = read?.strings ?? []
  if (read === undefined || name === undefined || bytes === undefined) return undefined
  return read.rest.length === 0 && isNamed(name, KEY_ALGORITHM) && bytes.length === 64 ? bytes : undefined
}

function isNamed(name: Uint8Array, wanted: string): boolean {
  return Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1') === wanted
}
