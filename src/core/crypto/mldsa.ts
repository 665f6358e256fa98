import { createPrivateKey, createPublicKey, type KeyObject, sign as nodeSign, verify as nodeVerify } from 'node:crypto'
import { equal, plain } from '../bytes.ts'
import { KithError } from '../errors.ts'
import { Lru } from '../lru.ts'
import type { Secret } from '../secret.ts'
import type { KeyRole, PostQuantumSigner } from '../signer.ts'
import { refused } from './ed25519.ts'
import { forgetKeysSoon } from './forget-keys.ts'
import { sha256 } from './hash.ts'
import { maySign } from './sign-prefix.ts'

/**
 * ML-DSA-65 (FIPS 204), the post-quantum half of hybrid signatures: pure mode, empty context, randomised. The private key is its 32-byte seed.
 *
 * node:crypto holds seed and expanded key in OpenSSL's memory while the signer is open; that memory is not locked, and zeroed only when the garbage
 * collector frees the key, which is asked for at once (`forgetKeysSoon`). So a signer is opened for as long as it is needed and no longer. The seed
 * itself is handed over straight from guarded memory.
 */
const MLDSA_SEED_BYTES = 32
export const MLDSA_PUBLIC_KEY_BYTES = 1952
export const MLDSA_SIGNATURE_BYTES = 3309

/** Imported public keys by their hash: importing costs a good part of a verification, and devices sign again and again. */
const imported: Lru<string, KeyObject> = new Lru(256)
/** The same by their first bytes, compared in full: hashing a whole key costs twenty times as much. Keys that begin alike, by whatever design, are told by their hash. */
const recent: Lru<string, { readonly bytes: Uint8Array; readonly key: KeyObject }> = new Lru(256)
const BEGINNING = 32

/**
 * Takes ownership of `seed`: it is wiped here.
 * @throws KithError `SECRET_WIPED`; TypeError when the seed is not 32 bytes.
 */
export function createPostQuantumSigner(role: KeyRole, seed: Secret): PostQuantumSigner {
  const key = privateKeyOf(seed)
  seed.wipe()
  return new MldsaSigner(role, key)
}

/** The public key of a seed that goes on living. @throws KithError `SECRET_WIPED`. */
export function mldsaPublicKeyOfSeed(seed: Secret): Uint8Array {
  try {
    return publicBytes(privateKeyOf(seed))
  } finally {
    forgetKeysSoon()
  }
}

/** False for anything that is not a good signature, wrong lengths included. */
export function verifyMldsa(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== MLDSA_PUBLIC_KEY_BYTES || signature.length !== MLDSA_SIGNATURE_BYTES) return false
  return nodeVerify(null, message, importPublicKey(publicKey), signature)
}

class MldsaSigner implements PostQuantumSigner {
  readonly role: KeyRole
  readonly publicKey: Uint8Array
  #key: KeyObject | undefined

  constructor(role: KeyRole, key: KeyObject) {
    this.role = role
    this.publicKey = publicBytes(key)
    this.#key = key
  }

  sign(message: Uint8Array): Uint8Array {
    if (!maySign(this.role, message)) throw refused(this.role, message)
    if (this.#key === undefined) throw new KithError('SECRET_WIPED')
    return plain(nodeSign(null, message, this.#key))
  }

  close(): void {
    if (this.#key === undefined) return
    this.#key = undefined
    forgetKeysSoon()
  }
}

function privateKeyOf(seed: Secret): KeyObject {
  if (seed.length !== MLDSA_SEED_BYTES) throw new TypeError(`a seed has ${MLDSA_SEED_BYTES} bytes, not ${seed.length}`)
  return seed.use((key) => createPrivateKey({ key, format: 'raw-seed', asymmetricKeyType: 'ml-dsa-65' }))
}

function publicBytes(key: KeyObject): Uint8Array {
  return plain(createPublicKey(key).export({ format: 'raw-public' }))
}

/** Every string of the right length is a key of ML-DSA: there is nothing to refuse in it. */
function importPublicKey(publicKey: Uint8Array): KeyObject {
  const beginning = Buffer.from(publicKey.buffer, publicKey.byteOffset, BEGINNING).toString('latin1')
  const known = recent.get(beginning)
  if (known !== undefined && equal(known.bytes, publicKey)) return known.key
  const key = importedByHash(publicKey)
  recent.set(beginning, { bytes: Uint8Array.from(publicKey), key })
  return key
}

function importedByHash(publicKey: Uint8Array): KeyObject {
  const id = Buffer.from(sha256(publicKey)).toString('latin1')
  const known = imported.get(id)
  if (known !== undefined) return known
  const key = createPublicKey({ key: Buffer.from(publicKey), format: 'raw-public', asymmetricKeyType: 'ml-dsa-65' })
  imported.set(id, key)
  return key
}
