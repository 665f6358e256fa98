import { generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import sodium from 'sodium-native'

/** Signatures with nothing round them: what a program would have to pay at least. */
export interface Signatures {
  sign(message: Uint8Array): Uint8Array
  verify(message: Uint8Array, signature: Uint8Array): boolean
}

/** libsodium's Ed25519, keys in plain memory. */
export class BareKeys implements Signatures {
  readonly #publicKey: Buffer = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES)
  readonly #secretKey: Buffer = Buffer.alloc(sodium.crypto_sign_SECRETKEYBYTES)

  constructor() {
    sodium.crypto_sign_keypair(this.#publicKey, this.#secretKey)
  }

  sign(message: Uint8Array): Uint8Array {
    const signature = new Uint8Array(sodium.crypto_sign_BYTES)
    sodium.crypto_sign_detached(signature, message, this.#secretKey)
    return signature
  }

  verify(message: Uint8Array, signature: Uint8Array): boolean {
    return sodium.crypto_sign_verify_detached(signature, message, this.#publicKey)
  }
}

/** OpenSSL's, keys imported once. */
export class NodeKeys implements Signatures {
  readonly #publicKey: KeyObject
  readonly #privateKey: KeyObject

  constructor(type: 'ed25519' | 'ml-dsa-65' = 'ed25519') {
    const { publicKey, privateKey } = type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ml-dsa-65')
    this.#publicKey = publicKey
    this.#privateKey = privateKey
  }

  sign(message: Uint8Array): Uint8Array {
    return sign(null, message, this.#privateKey)
  }

  verify(message: Uint8Array, signature: Uint8Array): boolean {
    return verify(null, message, this.#publicKey, signature)
  }
}

/** Both, one after the other. */
export class BareHybrid implements Signatures {
  readonly #ed25519 = new BareKeys()
  readonly #mldsa = new NodeKeys('ml-dsa-65')

  sign(message: Uint8Array): Uint8Array {
    return Buffer.concat([this.#ed25519.sign(message), this.#mldsa.sign(message)])
  }

  verify(message: Uint8Array, signature: Uint8Array): boolean {
    return this.#ed25519.verify(message, signature.subarray(0, 64)) && this.#mldsa.verify(message, signature.subarray(64))
  }
}
