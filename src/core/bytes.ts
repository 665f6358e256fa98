import { timingSafeEqual } from 'node:crypto'

/** Nominal typing for bytes that mean something: a value of one brand cannot be passed where another is expected. */
export type Brand<T, Name extends string> = T & { readonly __brand: Name }

/** A 32-byte Ed25519 public key that was checked to be a valid point (`parsePublicKey`). */
export type PublicKey = Brand<Uint8Array, 'PublicKey'>
/** A 64-byte Ed25519 signature: only its length was checked. */
export type Signature = Brand<Uint8Array, 'Signature'>

const UTF8 = new TextEncoder()
const UTF8_STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** The same memory without the methods of `Buffer`, whose `slice`, `toString` and comparison in tests differ. */
export function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Byte equality for public values; leaves early, so never for secrets (`equalSecret`). */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compare(a, b) === 0
}

/** Constant-time equality for values of which an attacker must learn nothing but the outcome. */
export function equalSecret(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** Bytewise order, shorter first on a common prefix: -1, 0 or 1. */
export function compare(a: Uint8Array, b: Uint8Array): -1 | 0 | 1 {
  return Buffer.compare(a, b)
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** @throws TypeError when the text is not an even number of hexadecimal digits. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new TypeError('not hexadecimal')
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

export function utf8(text: string): Uint8Array {
  return UTF8.encode(text)
}

/** Strict UTF-8, a leading byte order mark kept as the character it is; `undefined` for anything malformed. */
export function parseUtf8(bytes: Uint8Array): string | undefined {
  try {
    return UTF8_STRICT.decode(bytes)
  } catch {
    return undefined
  }
}
