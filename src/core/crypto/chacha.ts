import sodium from 'sodium-native'
import { TAG_BYTES } from './aead.ts'

/**
 * ChaCha20-Poly1305 (RFC 8439) for single messages whose nonce the format dictates. `target` takes ciphertext and tag, 16 bytes more than the message.
 * The caller never uses a (key, nonce) pair twice.
 */
export function chachaSeal(key: Uint8Array, nonce: Uint8Array, message: Uint8Array, target: Uint8Array, associated: Uint8Array | null = null): void {
  sodium.crypto_aead_chacha20poly1305_ietf_encrypt(target.subarray(0, message.length + TAG_BYTES), message, associated, null, nonce, key)
}

/** Opens `sealed` into `target`, 16 bytes shorter. False, with `target` unspecified, when the tag does not match or the input is too short. */
export function chachaOpen(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, target: Uint8Array, associated: Uint8Array | null = null): boolean {
  if (sealed.length < TAG_BYTES) return false
  try {
    sodium.crypto_aead_chacha20poly1305_ietf_decrypt(target.subarray(0, sealed.length - TAG_BYTES), null, sealed, associated, nonce, key)
    return true
  } catch {
    return false
  }
}
