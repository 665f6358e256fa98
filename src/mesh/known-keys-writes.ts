import type { Clock, Timer } from '../core/clock.ts'
import { asKithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { MAX_BATCH_OPERATIONS, type Store, type StoreOp } from '../core/store/types.ts'

/** How long writes are collected. A Hello must not wait for a disk. */
const COLLECT_MS = 50
/** After a failure of the store. */
const RETRY_MS = 5_000

/**
 * Collects writes, the last one of a key wins, and hands them to the store as one atomic batch. What has not reached it yet is read from here.
 */
export class WriteBehind {
  readonly #store: Store
  readonly #clock: Clock
  readonly #log: Logger
  readonly #what: string
  #waiting: Map<string, StoreOp> = new Map()
  /** Those of the batch under way. */
  #leaving: Map<string, StoreOp> = new Map()
  #timer: Timer | undefined
  #running: Promise<void> | undefined
  #closed = false

  /** `what`: names the things written, for the log. */
  constructor(store: Store, clock: Clock, log: Logger, what = 'known keys') {
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#what = what
  }

  put(ns: string, key: Uint8Array, value: Uint8Array): void {
    this.#add({ type: 'put', ns, key, value })
  }

  delete(ns: string, key: Uint8Array): void {
    this.#add({ type: 'delete', ns, key })
  }

  /** The value a key will have, when a write of it is on its way; an empty one when it is being deleted. */
  pending(ns: string, key: Uint8Array): { readonly value: Uint8Array | undefined } | undefined {
    const id = idOf(ns, key)
    const operation = this.#waiting.get(id) ?? this.#leaving.get(id)
    if (operation === undefined) return undefined
    return { value: operation.type === 'put' ? operation.value : undefined }
  }

  /** @throws KithError `STORE_FAILED`. */
  async flush(): Promise<void> {
    while (this.#running !== undefined || this.#waiting.size > 0) await (this.#running ?? this.#run())
  }

  /** Writes what is left; later writes are dropped. @throws KithError `STORE_FAILED`. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.flush()
  }

  #add(operation: StoreOp): void {
    if (this.#closed) return
    this.#waiting.set(idOf(operation.ns, operation.key), operation)
    this.#schedule(COLLECT_MS)
  }

  #schedule(ms: number): void {
    if (this.#closed || this.#timer !== undefined || this.#running !== undefined) return
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = undefined
      this.flush().catch((error: unknown) => {
        this.#log.warn('could not be stored', { what: this.#what, error: asKithError(error, 'STORE_FAILED').toJSON() })
        this.#schedule(RETRY_MS)
      })
    })
  }

  #run(): Promise<void> {
    this.#running = this.#batch().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #batch(): Promise<void> {
    const leaving = new Map([...this.#waiting].slice(0, MAX_BATCH_OPERATIONS))
    for (const id of leaving.keys()) this.#waiting.delete(id)
    this.#leaving = leaving
    try {
      await this.#store.batch([...leaving.values()])
    } catch (error) {
      // Newer writes of the same key stand.
      this.#waiting = new Map([...leaving, ...this.#waiting])
      throw error
    } finally {
      this.#leaving = new Map()
    }
  }
}

function idOf(ns: string, key: Uint8Array): string {
  return `${ns}\0${Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')}`
}
