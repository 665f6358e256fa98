import { toHex } from '../../core/bytes.ts'
import { SEALED_BOX_KEY_BYTES, SealingKey, sealTo } from '../../core/crypto/sealed-box.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'

/**
 * # How a passphrase reaches the daemon
 *
 * ```text
 * POST /v1/sealing-key   ->  {"key": hex(32)}                  made for one request, the private half in guarded memory
 * POST /v1/...           body = key(32) || sealed box          the key is wiped once this was read
 * ```
 *
 * HTTP leaves copies of what it carries in buffers of the runtime. Sealed, they tell nothing to whoever reads the daemon's memory later.
 */
export const SEALING_KEY_PATH = '/v1/sealing-key'
/** Keys that were asked for and not used; the oldest gives way. */
const MAX_WAITING = 16

export class Sealing {
  readonly #random: Random
  readonly #waiting: Map<string, SealingKey> = new Map()

  constructor(random: Random) {
    this.#random = random
  }

  /** A new key, in hexadecimal digits. */
  offer(): string {
    const key = new SealingKey(this.#random)
    const name = toHex(key.publicKey)
    this.#waiting.set(name, key)
    if (this.#waiting.size > MAX_WAITING) this.#drop(this.#waiting.keys().next().value as string)
    return name
  }

  /** Opens the body of a request, once. `undefined` when its key is not waiting or it was not sealed to it. */
  open(body: Uint8Array): Secret | undefined {
    const name = toHex(body.subarray(0, SEALED_BOX_KEY_BYTES))
    const secret = this.#waiting.get(name)?.open(body.subarray(SEALED_BOX_KEY_BYTES))
    this.#drop(name)
    return secret
  }

  close(): void {
    for (const name of [...this.#waiting.keys()]) this.#drop(name)
  }

  #drop(name: string): void {
    this.#waiting.get(name)?.close()
    this.#waiting.delete(name)
  }
}

/** The body that carries a secret to the daemon that gave this key. */
export function sealedBody(key: Uint8Array, secret: Secret): Buffer {
  return Buffer.concat([key, sealTo(key, secret)])
}
