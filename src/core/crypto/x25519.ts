import sodium from 'sodium-native'

/** X25519 (RFC 7748) by libsodium: scalars are clamped at use, any 32 bytes are one. */

/** Writes the public key of `secret` into `out`. */
export function x25519PublicKey(out: Uint8Array, secret: Uint8Array): void {
  sodium.crypto_scalarmult_base(out, secret)
}

/**
 * Writes the shared secret of `secret` and the other side's `point` into `out`.
 * False, with `out` zeroed, when the point is of low order: the result would be known to everyone (RFC 7748, 6.1).
 */
export function x25519(out: Uint8Array, secret: Uint8Array, point: Uint8Array): boolean {
  try {
    sodium.crypto_scalarmult(out, secret, point)
    return true
  } catch {
    out.fill(0)
    return false
  }
}
