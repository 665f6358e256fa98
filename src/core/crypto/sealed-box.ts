import sodium from 'sodium-native'
import type { Random } from '../random.ts'
import { Secret } from '../secret.ts'
import { x25519PublicKey } from './x25519.ts'

/**
 * Secrets on their way between two processes of one machine (libsodium's sealed box: X25519, XSalsa20-Poly1305, an ephemeral sender key). Whatever
 * buffers of the runtime and of the system the bytes pass, and stay in, without the key they were sealed to they are nothing.
 */
export const SEALED_BOX_KEY_BYTES = 32
/** How much longer a sealed secret is. */
const SEALED_BOX_OVERHEAD_BYTES = 48

/** @throws KithError `SECRET_WIPED`; Error for a key of low order. */
export function sealTo(publicKey: Uint8Array, secret: Secret): Uint8Array {
  const sealed = Buffer.alloc(secret.length + SEALED_BOX_OVERHEAD_BYTES)
  secret.use((bytes) => sodium.crypto_box_seal(sealed, bytes, Buffer.from(publicKey)))
  return sealed
}

/** A key to seal one secret to. */
export class SealingKey implements Disposable {
  readonly publicKey: Uint8Array
  readonly #secretKey: Secret

  constructor(random: Random) {
    this.#secretKey = Secret.random(SEALED_BOX_KEY_BYTES, random)
    this.publicKey = new Uint8Array(SEALED_BOX_KEY_BYTES)
    this.#secretKey.use((bytes) => x25519PublicKey(this.publicKey, bytes))
  }

  /** `undefined` for anything that was not sealed to this key. @throws KithError `SECRET_WIPED` after `close`. */
  open(sealed: Uint8Array): Secret | undefined {
    if (sealed.length <= SEALED_BOX_OVERHEAD_BYTES) return undefined
    const secret = Secret.alloc(sealed.length - SEALED_BOX_OVERHEAD_BYTES)
    let opened = false
    this.#secretKey.use((key) =>
      secret.fill((target) => {
        opened = sodium.crypto_box_seal_open(target, Buffer.from(sealed), Buffer.from(this.publicKey), key)
      }),
    )
    if (opened) return secret
    secret.wipe()
    return undefined
  }

  close(): void {
    this.#secretKey.wipe()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
