import { Buffer } from 'node:buffer'
import type { Store } from '../core/store/types.ts'
import type { WriteBehind } from '../mesh/known-keys-writes.ts'
import { evidenceKey, VIOLATION_NS } from './standing-codec.ts'

/** Bytes that show violations, numbered as they came. Bounded in all: the oldest go first, whoever sent them. */
export class ViolationStore {
  readonly #store: Store
  readonly #writes: WriteBehind
  readonly #limit: () => number
  /** Insertion order is age. */
  readonly #sizes: Map<number, number> = new Map()
  #bytes = 0
  #next = 1

  constructor(store: Store, writes: WriteBehind, limit: () => number) {
    this.#store = store
    this.#writes = writes
    this.#limit = limit
  }

  /** @throws KithError `STORE_FAILED`. */
  async load(): Promise<void> {
    for await (const { key, value } of this.#store.scan(VIOLATION_NS)) {
      if (key.length !== 8) continue
      const number = Number(Buffer.from(key.buffer, key.byteOffset, 8).readBigUInt64BE())
      this.#sizes.set(number, value.length)
      this.#bytes += value.length
      this.#next = number + 1
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The number to ask for it later; 0 when there is nothing to keep. */
  keep(evidence: Uint8Array | undefined): number {
    if (evidence === undefined || evidence.length === 0 || evidence.length > this.#limit()) return 0
    const number = this.#next++
    this.#writes.put(VIOLATION_NS, evidenceKey(number), evidence)
    this.#sizes.set(number, evidence.length)
    this.#bytes += evidence.length
    for (const oldest of this.#sizes.keys()) {
      if (this.#bytes <= this.#limit()) break
      this.drop(oldest)
    }
    return number
  }

  drop(number: number): void {
    const size = this.#sizes.get(number)
    if (size === undefined) return
    this.#sizes.delete(number)
    this.#bytes -= size
    this.#writes.delete(VIOLATION_NS, evidenceKey(number))
  }

  /** @throws KithError `STORE_FAILED`. */
  async get(number: number): Promise<Uint8Array | undefined> {
    if (!this.#sizes.has(number)) return undefined
    const key = evidenceKey(number)
    const pending = this.#writes.pending(VIOLATION_NS, key)
    return pending === undefined ? await this.#store.get(VIOLATION_NS, key) : pending.value
  }
}
