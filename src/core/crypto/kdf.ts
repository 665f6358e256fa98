import sodium from 'sodium-native'
import { leaseKey } from '../key-slab.ts'
import { Secret } from '../secret.ts'

/** SHA-512 works on blocks of this many bytes; an HMAC key is padded to one (RFC 2104). */
const BLOCK_BYTES = 128
const DIGEST_BYTES = 64

/**
 * HMAC-SHA-512 (RFC 4231) computed wholly in locked memory: pads, hash state and result never touch an ordinary page.
 * @throws TypeError for a key beyond 128 bytes, which nothing here needs.
 */
export function hmacSha512(key: Uint8Array, ...parts: readonly Uint8Array[]): Secret {
  const out = Secret.alloc(DIGEST_BYTES)
  out.fill((target) => hmacSha512Into(target, key, parts))
  return out
}

/**
 * The same into memory of the caller, who guards it. What it works with lies in the key slab: changing the protection of guarded pages around each
 * block would cost more than the hash itself. `target` may be the key or one of the parts.
 * @throws TypeError for a key beyond 128 bytes or a target of another length than 64.
 */
export function hmacSha512Into(target: Uint8Array, key: Uint8Array, parts: readonly Uint8Array[]): void {
  if (key.length > BLOCK_BYTES) throw new TypeError('an HMAC key of at most 128 bytes')
  if (target.length !== DIGEST_BYTES) throw new TypeError('an HMAC-SHA-512 has 64 bytes')
  const block = leaseKey(BLOCK_BYTES)
  const inner = leaseKey(DIGEST_BYTES)
  const state = leaseKey(sodium.crypto_hash_sha512_STATEBYTES)
  try {
    block.bytes.set(key)
    mask(block.bytes, 0x36)
    sodium.crypto_hash_sha512_init(state.bytes)
    sodium.crypto_hash_sha512_update(state.bytes, block.bytes)
    for (const part of parts) sodium.crypto_hash_sha512_update(state.bytes, part)
    sodium.crypto_hash_sha512_final(state.bytes, inner.bytes)
    mask(block.bytes, 0x36 ^ 0x5c)
    sodium.crypto_hash_sha512_init(state.bytes)
    sodium.crypto_hash_sha512_update(state.bytes, block.bytes)
    sodium.crypto_hash_sha512_update(state.bytes, inner.bytes)
    sodium.crypto_hash_sha512_final(state.bytes, target)
  } finally {
    for (const lease of [block, inner, state]) lease.release()
  }
}

function mask(block: Buffer, byte: number): void {
  for (let i = 0; i < BLOCK_BYTES; i++) block[i] = (block[i] as number) ^ byte
}

/** PBKDF2-HMAC-SHA-512 (RFC 8018) from guarded memory into guarded memory. Blocks the event loop: about 1 ms for a thousand rounds. */
export function pbkdf2Sha512(password: Secret, salt: Uint8Array, rounds: number, length: number): Secret {
  const out = Secret.alloc(length)
  password.use((bytes) => out.fill((target) => sodium.extension_pbkdf2_sha512(target, bytes, salt, rounds, length)))
  return out
}
