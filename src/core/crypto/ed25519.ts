import sodium from 'sodium-native'
import { type PublicKey, type Signature, toHex } from '../bytes.ts'
import { KithError } from '../errors.ts'
import { Lru } from '../lru.ts'
import type { Random } from '../random.ts'
import { Secret } from '../secret.ts'
import type { KeyRole, Signer } from '../signer.ts'
import { maySign } from './sign-prefix.ts'

/**
 * # Ed25519 under one verification rule
 *
 * A signature is good when libsodium's detached verification accepts it (canonical S, canonical key, neither key nor R of small order,
 * R equal to the recomputed point, no cofactor) and the key is a canonical point of the prime-order subgroup. Everything native uses this
 * rule; `zip215.ts` holds the laxer one that the encrypted stream's upstream uses.
 */
export const PUBLIC_KEY_BYTES = 32
export const SIGNATURE_BYTES = 64
export const SEED_BYTES = 32
const SECRET_KEY_BYTES = 64

/** Points found valid: the check costs nearly as much as a signature, and the same few peers come again and again. */
const valid: Lru<string, true> = new Lru(4096)

/** Whether the bytes are a canonical encoding of a point of the prime-order subgroup other than the identity. */
export function isPublicKey(bytes: Uint8Array): boolean {
  if (bytes.length !== PUBLIC_KEY_BYTES) return false
  const id = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  if (valid.get(id) === true) return true
  if (!sodium.crypto_core_ed25519_is_valid_point(bytes)) return false
  valid.set(id, true)
  return true
}

/** A copy of `bytes` as a key. @throws KithError `KEY_INVALID`. */
export function parsePublicKey(bytes: Uint8Array): PublicKey {
  if (!isPublicKey(bytes)) throw new KithError('KEY_INVALID', undefined, { details: { length: bytes.length } })
  return Uint8Array.from(bytes) as PublicKey
}

/** The verification rule of everything native. False for anything that is not a good signature, wrong lengths included. */
export function verify(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false
  return sodium.crypto_sign_verify_detached(signature, message, key) && isPublicKey(key)
}

/** The same rule for a key that was checked when it was decoded (its type says so): the point is not looked up again for each of many messages. */
export function verifyChecked(key: PublicKey, message: Uint8Array, signature: Signature): boolean {
  return signature.length === SIGNATURE_BYTES && sodium.crypto_sign_verify_detached(signature, message, key)
}

export function randomSeed(random: Random): Secret {
  return Secret.random(SEED_BYTES, random)
}

/** @throws KithError `SECRET_WIPED`; TypeError when the seed is not 32 bytes. */
export function publicKeyOfSeed(seed: Secret): PublicKey {
  const { publicKey, secretKey } = expand(seed)
  secretKey.wipe()
  return publicKey
}

/**
 * A signer whose key never leaves guarded memory. Takes ownership of `seed`: it is wiped here.
 * @throws KithError `SECRET_WIPED`; TypeError when the seed is not 32 bytes.
 */
export function createSigner(role: KeyRole, seed: Secret): Signer {
  const { publicKey, secretKey } = expand(seed)
  seed.wipe()
  return new GuardedSigner(role, publicKey, secretKey)
}

/** A fresh array of this size lies among the engine's objects and would have to be moved out for the native call; a signature is no secret. */
const signed: Buffer = Buffer.allocUnsafeSlow(SIGNATURE_BYTES)

class GuardedSigner implements Signer {
  readonly role: KeyRole
  readonly publicKey: PublicKey
  readonly #secretKey: Secret

  constructor(role: KeyRole, publicKey: PublicKey, secretKey: Secret) {
    this.role = role
    this.publicKey = publicKey
    this.#secretKey = secretKey
  }

  sign(message: Uint8Array): Signature {
    if (!maySign(this.role, message)) throw refused(this.role, message)
    this.#secretKey.use((key) => sodium.crypto_sign_detached(signed, message, key))
    return new Uint8Array(signed) as Signature
  }

  close(): void {
    this.#secretKey.wipe()
  }
}

/** The refusal names the first byte and the length, never the message: a caller may have passed something secret. */
export function refused(role: KeyRole, message: Uint8Array): KithError {
  return new KithError('SIGNER_REFUSED', undefined, { details: { role, first: toHex(message.subarray(0, 1)), length: message.length } })
}

/** seed (32) -> public key, and libsodium's secret key: seed || public key (64). */
function expand(seed: Secret): { publicKey: PublicKey; secretKey: Secret } {
  if (seed.length !== SEED_BYTES) throw new TypeError(`a seed has ${SEED_BYTES} bytes, not ${seed.length}`)
  const publicKey = new Uint8Array(PUBLIC_KEY_BYTES)
  const secretKey = Secret.alloc(SECRET_KEY_BYTES)
  seed.use((bytes) => secretKey.fill((target) => sodium.crypto_sign_seed_keypair(publicKey, target, bytes)))
  return { publicKey: publicKey as PublicKey, secretKey }
}

export { verifyZip215 } from './zip215.ts'
