import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { MAX_BATCH_OPERATIONS, type Store, type StoreOp } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import { clearDropped, droppedOperation, loadDropped } from './dropped-store.ts'
import type { Place } from './retention.ts'
import type { Topic } from './topic.ts'
import type { Item } from './topic-index.ts'

/**
 * Envelopes of kept entries, under `topic hash 16 || u64 time_ms || id 32`, so that a scan is in the order of entries. Writes of one turn are one batch. What came from
 * others may be lost with the machine (they still have it); what was published here is durable before `publish` resolves.
 */
const NAMESPACE = 'gossip/entries'
const TOPIC_BYTES = 16
/** Envelopes kept at hand for those who ask soon after. */
const RECENT_BYTES: number = 8 * 2 ** 20

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

export class EntryStore {
  readonly #store: Store
  readonly #yieldTurn: () => Promise<void>
  readonly #logger: Logger
  #operations: StoreOp[] = []
  #waiters: Waiter[] = []
  /** Written in this turn, not in the store yet. */
  readonly #fresh: Map<string, Uint8Array> = new Map()
  readonly #recent: Map<string, Uint8Array> = new Map()
  #recentBytes = 0
  #flushing: Promise<void> | undefined

  constructor(store: Store, yieldTurn: () => Promise<void>, logger: Logger) {
    this.#store = store
    this.#yieldTurn = yieldTurn
    this.#logger = logger
  }

  put(topic: Topic, item: Item, bytes: Uint8Array): void {
    this.#operations.push({ type: 'put', ns: NAMESPACE, key: keyOf(topic, item), value: bytes })
    this.#fresh.set(item.key, bytes)
    this.#remember(item.key, bytes)
    this.#schedule()
  }

  /** Deletes entries, and notes in front of that what was dropped of their authors. */
  delete(topic: Topic, items: Iterable<Item>, dropped: Iterable<readonly [Did, Place | undefined]> = []): void {
    for (const [author, place] of dropped) this.#operations.push(droppedOperation(topic, author, place))
    for (const item of items) {
      this.#operations.push({ type: 'delete', ns: NAMESPACE, key: keyOf(topic, item) })
      this.#fresh.delete(item.key)
      this.#forget(item.key)
    }
    this.#schedule()
  }

  /** Resolves when everything put so far survives a power failure. @throws KithError `STORE_FAILED`, `CLOSED`. */
  durable(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#schedule()
    })
  }

  /** The envelope of a kept entry; undefined when it went meanwhile. @throws KithError `STORE_FAILED`. */
  async get(topic: Topic, item: Item): Promise<Uint8Array | undefined> {
    return this.#fresh.get(item.key) ?? this.#recent.get(item.key) ?? (await this.#store.get(NAMESPACE, keyOf(topic, item)))
  }

  /** By author, the newest entry that was dropped for want of space. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`. */
  dropped(topic: Topic): Promise<ReadonlyMap<Did, Place>> {
    return loadDropped(this.#store, topic)
  }

  async *scan(topic: Topic): AsyncGenerator<Uint8Array> {
    for await (const { value } of this.#store.scan(NAMESPACE, { prefix: topic.hash.subarray(0, TOPIC_BYTES) })) yield value
  }

  /** Everything of a topic. */
  async clear(topic: Topic): Promise<void> {
    await this.flush()
    let batch: StoreOp[] = []
    for await (const { key } of this.#store.scan(NAMESPACE, { prefix: topic.hash.subarray(0, TOPIC_BYTES) })) {
      batch.push({ type: 'delete', ns: NAMESPACE, key })
      if (batch.length < MAX_BATCH_OPERATIONS) continue
      await this.#store.batch(batch)
      batch = []
    }
    if (batch.length > 0) await this.#store.batch(batch)
    await clearDropped(this.#store, topic)
  }

  /** Writes what waits. Failures are logged and told to those who wait for durability. */
  async flush(): Promise<void> {
    while (this.#operations.length > 0 || this.#waiters.length > 0 || this.#flushing !== undefined) {
      this.#flushing ??= this.#write().finally(() => {
        this.#flushing = undefined
      })
      await this.#flushing
    }
  }

  #schedule(): void {
    if (this.#flushing !== undefined) return
    this.#flushing = this.#yieldTurn()
      .then(() => this.#write())
      .finally(() => {
        this.#flushing = undefined
        if (this.#operations.length > 0 || this.#waiters.length > 0) this.#schedule()
      })
  }

  async #write(): Promise<void> {
    const operations = this.#operations
    const waiters = this.#waiters
    const fresh = [...this.#fresh]
    this.#operations = []
    this.#waiters = []
    const durable = waiters.length > 0
    try {
      for (let at = 0; at < operations.length; at += MAX_BATCH_OPERATIONS) {
        const batch = operations.slice(at, at + MAX_BATCH_OPERATIONS)
        await this.#store.batch(batch, { durable: durable && at + MAX_BATCH_OPERATIONS >= operations.length })
      }
      // The last batch was synced, and with it those before; without one, an empty write would sync nothing.
      for (const { resolve } of waiters) resolve()
    } catch (error) {
      this.#logger.error('gossip entries not written', { count: operations.length, error })
      for (const { reject } of waiters) reject(error instanceof KithError ? error : new KithError('STORE_FAILED', undefined, { cause: error }))
    }
    for (const [key, bytes] of fresh) if (this.#fresh.get(key) === bytes) this.#fresh.delete(key)
  }

  #remember(key: string, bytes: Uint8Array): void {
    this.#forget(key)
    this.#recent.set(key, bytes)
    this.#recentBytes += bytes.length
    for (const oldest of this.#recent.keys()) {
      if (this.#recentBytes <= RECENT_BYTES) return
      this.#forget(oldest)
    }
  }

  #forget(key: string): void {
    this.#recentBytes -= this.#recent.get(key)?.length ?? 0
    this.#recent.delete(key)
  }
}

function keyOf(topic: Topic, item: Pick<Item, 'timeMs' | 'id'>): Uint8Array {
  const key = Buffer.alloc(TOPIC_BYTES + 8 + item.id.length)
  key.set(topic.hash.subarray(0, TOPIC_BYTES))
  key.writeBigUInt64BE(BigInt(item.timeMs), TOPIC_BYTES)
  key.set(item.id, TOPIC_BYTES + 8)
  return key
}
