import { createECDH, type ECDH } from 'node:crypto'

/**
 * # secp256k1, as far as BIP-32 needs it
 *
 * Points are multiplied by OpenSSL (`node:crypto`), whose big numbers are cleared when they are freed; scalars are added here, byte by byte, in the memory
 * they lie in. JavaScript libraries hold scalars as `BigInt`, which nobody can wipe: a seed's key would stay behind in the heap.
 */
const SCALAR_BYTES = 32
/** Order of the group (SEC 2, 2.4.1), big-endian. */
const ORDER: Buffer = Buffer.from('fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141', 'hex')
/** What the one object of OpenSSL holds between two uses. */
const ONE: Buffer = Buffer.concat([Buffer.alloc(SCALAR_BYTES - 1), Buffer.of(1)])
let shared: ECDH | undefined

function curve(): ECDH {
  if (shared === undefined) {
    shared = createECDH('secp256k1')
    shared.setPrivateKey(ONE)
  }
  return shared
}

/** Whether 32 bytes are a private key: 1 to the order less 1. The time does not depend on the bytes. */
export function isScalar(bytes: Uint8Array): boolean {
  let any = 0
  let borrow = 0
  for (let i = SCALAR_BYTES - 1; i >= 0; i--) {
    const byte = bytes[i] as number
    any |= byte
    borrow = byte - (ORDER[i] as number) - borrow < 0 ? 1 : 0
  }
  return any !== 0 && borrow === 1
}

/** target = (target + addend) mod order, both below the order, in constant time and in place. */
export function addScalars(target: Uint8Array, addend: Uint8Array): void {
  let carry = 0
  for (let i = SCALAR_BYTES - 1; i >= 0; i--) {
    const sum = (target[i] as number) + (addend[i] as number) + carry
    target[i] = sum & 0xff
    carry = sum >> 8
  }
  let borrow = 0
  for (let i = SCALAR_BYTES - 1; i >= 0; i--) borrow = (((target[i] as number) - (ORDER[i] as number) - borrow) >> 31) & 1
  // The order is taken off when the sum passed 2^256 or is not below the order.
  const take = -(carry | (1 - borrow)) & 0xff
  borrow = 0
  for (let i = SCALAR_BYTES - 1; i >= 0; i--) {
    const difference = (target[i] as number) - ((ORDER[i] as number) & take) - borrow
    target[i] = difference & 0xff
    borrow = (difference >> 31) & 1
  }
}

/** The compressed public key (33 bytes) of a private key. @throws TypeError when it is none. */
export function publicKeyOfScalar(scalar: Uint8Array): Buffer {
  if (scalar.length !== SCALAR_BYTES || !isScalar(scalar)) throw new TypeError('not a private key of secp256k1')
  const ecdh = curve()
  try {
    ecdh.setPrivateKey(scalar)
    return ecdh.getPublicKey(null, 'compressed')
  } finally {
    // Takes the place of the key in OpenSSL's memory, now rather than when the object is collected.
    ecdh.setPrivateKey(ONE)
  }
}

/** Whether 33 bytes are a point of the curve in compressed form. */
export function isCompressedPoint(bytes: Uint8Array): boolean {
  if (bytes.length !== 33 || (bytes[0] !== 2 && bytes[0] !== 3)) return false
  try {
    curve().computeSecret(bytes)
    return true
  } catch {
    return false
  }
}
