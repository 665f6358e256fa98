// Completes @types/sodium-native: functions it lacks, and `Uint8Array` where it asks for `Buffer` although any view works.
import type { SecureBuffer } from 'sodium-native'

declare module 'sodium-native' {
  /** Detaches the buffer; its memory is zeroed and unmapped. */
  export function sodium_free(buffer: SecureBuffer): void
  export function sodium_memzero(buffer: Uint8Array): void
  export function sodium_memcmp(a: Uint8Array, b: Uint8Array): boolean

  export function crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
  export function crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
  export function crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
  export function crypto_core_ed25519_is_valid_point(point: Uint8Array): boolean
  /** Throws for an encoding that is not on the curve. */
  export function crypto_core_ed25519_add(result: Uint8Array, p: Uint8Array, q: Uint8Array): void
  export function crypto_core_ed25519_scalar_reduce(result: Uint8Array, wide: Uint8Array): void
  export function crypto_scalarmult_ed25519_noclamp(result: Uint8Array, scalar: Uint8Array, point: Uint8Array): void
  export function crypto_scalarmult_ed25519_base_noclamp(result: Uint8Array, scalar: Uint8Array): void

  export function crypto_scalarmult(result: Uint8Array, scalar: Uint8Array, point: Uint8Array): void
  export function crypto_scalarmult_base(result: Uint8Array, scalar: Uint8Array): void

  export function crypto_hash_sha512(result: Uint8Array, message: Uint8Array): void
  /** `state` has `crypto_hash_sha512_STATEBYTES` bytes and holds what was hashed: wipe it when that was secret. */
  export function crypto_hash_sha512_init(state: Uint8Array): void
  export function crypto_hash_sha512_update(state: Uint8Array, message: Uint8Array): void
  export function crypto_hash_sha512_final(state: Uint8Array, result: Uint8Array): void
  export function extension_pbkdf2_sha512(result: Uint8Array, passphrase: Uint8Array, salt: Uint8Array, iterations: number, length: number): void

  /** Returns the number of bytes written to `ciphertext` (message and 16-byte tag); in place when both start at the same byte. */
  export function crypto_aead_chacha20poly1305_ietf_encrypt(
    ciphertext: Uint8Array,
    message: Uint8Array,
    associated: Uint8Array | null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  /** Returns the number of bytes written to `message`; throws when the tag does not match. */
  export function crypto_aead_chacha20poly1305_ietf_decrypt(
    message: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    associated: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  export function crypto_aead_chacha20poly1305_ietf_encrypt_detached(
    ciphertext: Uint8Array,
    tag: Uint8Array,
    message: Uint8Array,
    associated: Uint8Array | null,
    secretNonce: null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): number
  export function crypto_aead_chacha20poly1305_ietf_decrypt_detached(
    message: Uint8Array,
    secretNonce: null,
    ciphertext: Uint8Array,
    tag: Uint8Array,
    associated: Uint8Array | null,
    nonce: Uint8Array,
    key: Uint8Array,
  ): void
}
