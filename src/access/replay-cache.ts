import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { KithError } from '../core/errors.ts'
import type { Store } from '../core/store/types.ts'

const NAMESPACE = 'access/tokens'
const MAX_TOKENS = 100_000
const KEY_BYTES = 16
const FORGET_AT_ONCE = 1_000

/**
 * Which tokens were used, until they would not count anyway. Kept in the store too: a token that was seen on the wire must not come back behind a restart of the node,
 * and a restart takes less than the five minutes that it has. Full, it refuses new ones: forgetting one would let it be used again.
 */
export class ReplayCache {
  readonly #clock: Clock
  readonly #store: Store
  /** Until when, by digest; oldest first, since all live equally long. */
  readonly #used: Map<string, number>

  private constructor(clock: Clock, store: Store, used: Map<string, number>) {
    this.#clock = clock
    this.#store = store
    this.#used = used
  }

  /** @throws KithError `STORE_FAILED`. */
  static async open(clock: Clock, store: Store): Promise<ReplayCache> {
    const found: [string, number][] = []
    for await (const { key, value } of store.scan(NAMESPACE)) {
      const until = value.length === 8 ? Number(new DataView(value.buffer, value.byteOffset).getBigUint64(0)) : 0
      if (until > clock.now()) found.push([toHex(key), until])
      else await store.delete(NAMESPACE, key, { durable: false })
    }
    return new ReplayCache(clock, store, new Map(found.sort((a, b) => a[1] - b[1]).slice(-MAX_TOKENS)))
  }

  get size(): number {
    return this.#used.size
  }

  /**
   * Whether this is the first use. From then on it is not, also when the node ends before the promise resolves.
   * @param untilMs Unix ms from which on it does not count any more. @throws KithError `TOKEN_BUSY`, `STORE_FAILED`.
   */
  async first(signature: Uint8Array, untilMs: number): Promise<boolean> {
    await this.#forget()
    const key = sha256(signature).subarray(0, KEY_BYTES)
    const name = toHex(key)
    if (this.#used.has(name)) return false
    if (this.#used.size >= MAX_TOKENS) throw new KithError('TOKEN_BUSY')
    this.#used.set(name, untilMs)
    const value = new Uint8Array(8)
    new DataView(value.buffer).setBigUint64(0, BigInt(untilMs))
    await this.#store.put(NAMESPACE, key, value, { durable: false })
    return true
  }

  /** Those in front that ended. A later one before an earlier one waits for it, at most twice the window. */
  async #forget(): Promise<void> {
    const now = this.#clock.now()
    const ended: Uint8Array[] = []
    for (const [name, until] of this.#used) {
      if (until > now || ended.length === FORGET_AT_ONCE) break
      this.#used.delete(name)
      ended.push(Buffer.from(name, 'hex'))
    }
    if (ended.length > 0)
      await this.#store.batch(
        ended.map((key) => ({ type: 'delete', ns: NAMESPACE, key })),
        { durable: false },
      )
  }
}
