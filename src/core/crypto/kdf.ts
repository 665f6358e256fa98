import sodium from 'sodium-native'
import { Secret } from '../secret.ts'

/** SHA-512 works on blocks of this many bytes; an HMAC key is padded to one (RFC 2104). */
const BLOCK_BYTES = 128
const DIGEST_BYTES = 64

/**
 * HMAC-SHA-512 (RFC 4231) computed wholly in guarded memory: pads, hash state and result never touch an ordinary page.
 * @throws TypeError for a key beyond 128 bytes, which nothing here needs.
 */
export function hmacSha512(key: Uint8Array, ...parts: readonly Uint8Array[]): Secret {
  if (key.length > BLOCK_BYTES) throw new TypeError('an HMAC key of at most 128 bytes')
  const pad = Secret.alloc(BLOCK_BYTES)
  const inner = Secret.alloc(DIGEST_BYTES)
  const state = Secret.alloc(sodium.crypto_hash_sha512_STATEBYTES)
  const out = Secret.alloc(DIGEST_BYTES)
  const hash = (mask: number, target: Secret, messages: readonly Uint8Array[]): void => {
    pad.fill((bytes) => {
      bytes.fill(mask)
      for (let i = 0; i < key.length; i++) bytes[i] = mask ^ (key[i] as number)
      state.fill((running) => {
        sodium.crypto_hash_sha512_init(running)
        sodium.crypto_hash_sha512_update(running, bytes)
        for (const message of messages) sodium.crypto_hash_sha512_update(running, message)
        target.fill((digest) => sodium.crypto_hash_sha512_final(running, digest))
      })
    })
  }
  try {
    hash(0x36, inner, parts)
    inner.use((digest) => hash(0x5c, out, [digest]))
    return out
  } finally {
    for (const part of [pad, inner, state]) part.wipe()
  }
}

/** PBKDF2-HMAC-SHA-512 (RFC 8018) from guarded memory into guarded memory. Blocks the event loop: about 1 ms for a thousand rounds. */
export function pbkdf2Sha512(password: Secret, salt: Uint8Array, rounds: number, length: number): Secret {
  const out = Secret.alloc(length)
  password.use((bytes) => out.fill((target) => sodium.extension_pbkdf2_sha512(target, bytes, salt, rounds, length)))
  return out
}
