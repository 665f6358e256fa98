import { createHash, createHmac, hash, hkdfSync } from 'node:crypto'
import { plain } from '../bytes.ts'

/** SHA-256 over the parts in order (FIPS 180-4), 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const only = parts[0]
  if (parts.length === 1 && only !== undefined) return plain(hash('sha256', only, 'buffer'))
  const state = createHash('sha256')
  for (const part of parts) state.update(part)
  return plain(state.digest())
}

export interface Sha256 {
  update(bytes: Uint8Array): void
  /** 32 bytes; the state is used up. */
  digest(): Uint8Array
}

/** SHA-256 over data that comes in pieces. */
export function createSha256(): Sha256 {
  const state = createHash('sha256')
  return {
    update(bytes) {
      state.update(bytes)
    },
    digest: () => plain(state.digest()),
  }
}

/** HMAC-SHA256 over the parts in order (RFC 2104), 32 bytes. */
export function hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const state = createHmac('sha256', key)
  for (const part of parts) state.update(part)
  return plain(state.digest())
}

/** HKDF-SHA256 (RFC 5869): extract with `salt`, expand with `info` to `length` bytes (at most 8,160). The caller wipes or guards the result. */
export function hkdfSha256(ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', ikm, salt, info, length))
}
