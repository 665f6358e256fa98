import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  decapsulate as nodeDecapsulate,
  encapsulate as nodeEncapsulate,
} from 'node:crypto'
import { plain } from '../bytes.ts'
import { KithError } from '../errors.ts'
import { Secret } from '../secret.ts'

/**
 * ML-KEM-768 (FIPS 203) through node:crypto. Encapsulation keys from outside must pass the modulus check of section 7.2; a wrong ciphertext is
 * rejected implicitly: decapsulation gives another secret, and what was confirmed with it shows the difference.
 */
export const MLKEM_ENCAPSULATION_KEY_BYTES = 1184
export const MLKEM_CIPHERTEXT_BYTES = 1088
export const MLKEM_SEED_BYTES = 64
const MODULUS = 3329
/** Three polynomials of 256 coefficients, 12 bits each; 32 bytes of seed follow. */
const PACKED_BYTES = 1152

export interface MlKemDecapsulator {
  /** 1,184 bytes. */
  readonly encapsulationKey: Uint8Array
  /** The 32-byte shared secret. @throws KithError `SECRET_WIPED` after `close`; TypeError when the ciphertext is not 1,088 bytes. */
  decapsulate(ciphertext: Uint8Array): Secret
  /** Drops the key. Idempotent. */
  close(): void
}

/** A fresh key pair; randomness is OpenSSL's. */
export function generateMlKem768(): MlKemDecapsulator {
  return new Decapsulator(generateKeyPairSync('ml-kem-768').privateKey)
}

/** The key pair of a 64-byte seed (d || z), which goes on living. @throws KithError `SECRET_WIPED`. */
export function mlKem768OfSeed(seed: Secret): MlKemDecapsulator {
  if (seed.length !== MLKEM_SEED_BYTES) throw new TypeError(`a seed has ${MLKEM_SEED_BYTES} bytes, not ${seed.length}`)
  return new Decapsulator(seed.use((key) => createPrivateKey({ key, format: 'raw-seed', asymmetricKeyType: 'ml-kem-768' })))
}

class Decapsulator implements MlKemDecapsulator {
  readonly encapsulationKey: Uint8Array
  #key: KeyObject | undefined

  constructor(key: KeyObject) {
    this.#key = key
    this.encapsulationKey = plain(createPublicKey(key).export({ format: 'raw-public' }))
  }

  decapsulate(ciphertext: Uint8Array): Secret {
    if (this.#key === undefined) throw new KithError('SECRET_WIPED')
    if (ciphertext.length !== MLKEM_CIPHERTEXT_BYTES) throw new TypeError(`a ciphertext has ${MLKEM_CIPHERTEXT_BYTES} bytes, not ${ciphertext.length}`)
    return Secret.take(nodeDecapsulate(this.#key, ciphertext))
  }

  close(): void {
    this.#key = undefined
  }
}

/** Length and modulus check of FIPS 203, 7.2: every coefficient is below 3,329, so the bytes are the one encoding of the key. */
export function isEncapsulationKey(bytes: Uint8Array): boolean {
  if (bytes.length !== MLKEM_ENCAPSULATION_KEY_BYTES) return false
  for (let i = 0; i < PACKED_BYTES; i += 3) {
    const middle = bytes[i + 1] as number
    if (((bytes[i] as number) | ((middle & 0x0f) << 8)) >= MODULUS) return false
    if (((middle >> 4) | ((bytes[i + 2] as number) << 4)) >= MODULUS) return false
  }
  return true
}

/** A fresh shared secret for the holder of `encapsulationKey`. @throws KithError `KEY_INVALID` when the key fails its check. */
export function encapsulate(encapsulationKey: Uint8Array): { ciphertext: Uint8Array; sharedSecret: Secret } {
  if (!isEncapsulationKey(encapsulationKey)) throw new KithError('KEY_INVALID', 'The bytes are not an ML-KEM-768 encapsulation key.')
  const key = createPublicKey({ key: Buffer.from(encapsulationKey), format: 'raw-public', asymmetricKeyType: 'ml-kem-768' })
  const { ciphertext, sharedKey } = nodeEncapsulate(key)
  return { ciphertext: plain(ciphertext), sharedSecret: Secret.take(sharedKey) }
}
