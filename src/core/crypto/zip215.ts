import sodium from 'sodium-native'
import { equal } from '../bytes.ts'

/**
 * # ZIP-215 verification with libsodium's group operations
 *
 * ZIP-215 accepts a signature (R, S) of M under A exactly when A and R decode (non-canonical encodings and points of small order included),
 * S < l, and 8 S B = 8 R + 8 h A with h = SHA-512(R || A || M) mod l. libsodium's own verification is stricter and never accepts more, so:
 * what it accepts is accepted, and only for a rejected signature is the equation computed. Honest peers pay one verification, a hostile
 * signature a few times that: a pure JavaScript fallback would be a tenfold amplifier.
 *
 * libsodium's point addition decodes as ZIP-215 does. Its scalar multiplications refuse small-order points and identity results; after
 * multiplying by 8 only the identity is left of those, and it is treated by hand.
 */
const ORDER = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex')
const IDENTITY = Uint8Array.from([1, ...new Uint8Array(31)])
const ZERO = new Uint8Array(32)

/** Exact ZIP-215. False for wrong lengths too. For `stream/` only; everything native uses `verify`. */
export function verifyZip215(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== 32 || signature.length !== 64) return false
  return sodium.crypto_sign_verify_detached(signature, message, key) || equationHolds(key, message, signature)
}

/** The group equation alone; exported for the test that compares it with an independent implementation. */
export function equationHolds(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const commitment = signature.subarray(0, 32)
  const scalar = signature.subarray(32)
  if (!belowOrder(scalar)) return false
  const eightA = timesEight(key)
  const eightR = timesEight(commitment)
  if (eightA === undefined || eightR === undefined) return false

  const wide = new Uint8Array(64)
  sodium.crypto_hash_sha512(wide, Buffer.concat([commitment, key, message]))
  const challenge = new Uint8Array(32)
  sodium.crypto_core_ed25519_scalar_reduce(challenge, wide)

  const left = timesEight(multiplyBase(scalar))
  const right = new Uint8Array(32)
  sodium.crypto_core_ed25519_add(right, eightR, multiply(challenge, eightA))
  return left !== undefined && equal(left, right)
}

/** Little-endian S < l. */
function belowOrder(scalar: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) {
    const difference = (scalar[i] as number) - (ORDER[i] as number)
    if (difference !== 0) return difference < 0
  }
  return false
}

/** 8 P by three additions; `undefined` when the encoding is not on the curve. */
function timesEight(point: Uint8Array): Uint8Array | undefined {
  const result = new Uint8Array(32)
  try {
    sodium.crypto_core_ed25519_add(result, point, point)
    sodium.crypto_core_ed25519_add(result, result, result)
    sodium.crypto_core_ed25519_add(result, result, result)
  } catch {
    return undefined
  }
  return result
}

function multiplyBase(scalar: Uint8Array): Uint8Array {
  if (equal(scalar, ZERO)) return IDENTITY
  const result = new Uint8Array(32)
  sodium.crypto_scalarmult_ed25519_base_noclamp(result, scalar)
  return result
}

/** `point` is the identity or of prime order. */
function multiply(scalar: Uint8Array, point: Uint8Array): Uint8Array {
  if (equal(scalar, ZERO) || equal(point, IDENTITY)) return IDENTITY
  const result = new Uint8Array(32)
  sodium.crypto_scalarmult_ed25519_noclamp(result, scalar, point)
  return result
}
