import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { checkOperations } from '../core/store/bounds.ts'
import { createMemoryStore } from '../core/store/memory.ts'
import type { ScanOptions, Store, StoreEntry, StoreOp, WriteOptions } from '../core/store/types.ts'
import type { Scheduler } from './scheduler.ts'

/**
 * What a machine that goes out loses: `nothing` (only the process died), `undurable` (every write after the last one that was durable), or `some` (a random
 * part of those, the latest ones first). A batch is lost as a whole or not at all.
 */
export type Loss = 'nothing' | 'undurable' | 'some'

export interface DiskOptions {
  /** How long a durable write takes. Default 0: it is done in the same moment. */
  readonly syncMs?: number
}

/** A store as it was at some moment, to begin again from. */
export type DiskCopy = ReadonlyMap<string, readonly StoreEntry[]>

interface Write {
  readonly operations: readonly StoreOp[]
  readonly done: (() => void) | undefined
}

/**
 * The one disk of a simulated machine. It knows which writes a power failure would take back: as in SQLite, a durable write carries along everything
 * written before it, and the rest goes in order.
 */
export class Disk {
  readonly #scheduler: Scheduler
  readonly #syncMs: number
  /** What the running node sees, and what is on the medium. */
  #live: Store = createMemoryStore()
  #medium: Store = createMemoryStore()
  /** Seen by the node and not yet on the medium. */
  #journal: Write[] = []
  readonly #namespaces = new Set<string>()
  #handle: DiskStore | undefined
  /** Work on both stores that was not awaited yet. */
  #reload: Promise<void> = Promise.resolve()

  constructor(scheduler: Scheduler, options: DiskOptions = {}) {
    const { syncMs = 0 } = options
    if (!(syncMs >= 0 && syncMs < Number.POSITIVE_INFINITY)) throw new TypeError('syncMs must be a number of ms, 0 or more')
    this.#scheduler = scheduler
    this.#syncMs = syncMs
  }

  /** Writes that a power failure now would take back. */
  get undurable(): number {
    return this.#journal.length
  }

  /** The store for one run of the node; the handle before it does nothing from here on. */
  async open(): Promise<Store> {
    this.#handle?.die()
    await this.#reload
    this.#handle = new DiskStore(this, this.#live)
    return this.#handle
  }

  crash(loss: Loss, random: Random): void {
    this.#handle?.die()
    this.#handle = undefined
    const kept = loss === 'nothing' ? this.#journal.length : loss === 'undurable' ? 0 : Math.floor(random.unit() * (this.#journal.length + 1))
    const survivors = this.#journal.slice(0, kept)
    const torn = kept < this.#journal.length
    this.#journal = []
    const medium = this.#medium
    const written = Promise.all(survivors.map(({ operations }) => medium.batch(operations)))
    if (torn) this.#reload = written.then(async () => this.#adopt(await this.#copyOf(medium)))
    else this.#reload = written.then(() => undefined)
  }

  /** Everything the node has written so far, durable or not: an image of the machine, or a copy of its home. */
  async copy(): Promise<DiskCopy> {
    await this.#reload
    return await this.#copyOf(this.#live)
  }

  /** Puts an image back; the node must not be running. */
  async restore(copy: DiskCopy): Promise<void> {
    if (this.#handle !== undefined) throw new TypeError('the node is running: a disk is replaced between two runs')
    await this.#reload
    this.#journal = []
    for (const ns of copy.keys()) this.#namespaces.add(ns)
    await this.#adopt(copy)
  }

  // For the handle.

  async write(operations: readonly StoreOp[], durable: boolean): Promise<void> {
    for (const { ns } of operations) this.#namespaces.add(ns)
    const seen = this.#live.batch(operations)
    if (durable && this.#syncMs === 0 && this.#journal.length === 0) {
      await Promise.all([seen, this.#medium.batch(operations)])
      return
    }
    const owned = operations.map(copyOfOperation)
    if (!durable) {
      this.#journal.push({ operations: owned, done: undefined })
      await seen
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const write = { operations: owned, done: resolve }
    this.#journal.push(write)
    if (this.#syncMs === 0) this.#sync(write)
    else this.#scheduler.after(this.#syncMs, () => this.#sync(write))
    await seen
    await promise
  }

  async close(): Promise<void> {
    const last = this.#journal.at(-1)
    if (last !== undefined) this.#sync(last)
    this.#handle = undefined
  }

  /** The write and all before it are on the medium. */
  #sync(write: Write): void {
    const at = this.#journal.indexOf(write)
    if (at === -1) return
    for (const { operations, done } of this.#journal.splice(0, at + 1)) {
      void this.#medium.batch(operations)
      done?.()
    }
  }

  async #adopt(copy: DiskCopy): Promise<void> {
    this.#live = createMemoryStore()
    this.#medium = createMemoryStore()
    for (const [ns, entries] of copy) {
      for (const { key, value } of entries) {
        await this.#live.put(ns, key, value)
        await this.#medium.put(ns, key, value)
      }
    }
  }

  async #copyOf(store: Store): Promise<DiskCopy> {
    const copy = new Map<string, StoreEntry[]>()
    for (const ns of this.#namespaces) {
      const entries: StoreEntry[] = []
      for await (const entry of store.scan(ns)) entries.push(entry)
      copy.set(ns, entries)
    }
    return copy
  }
}

/** The store as one run of a node holds it. Once the run is dead nothing it asked for is ever answered. */
class DiskStore implements Store {
  readonly #disk: Disk
  readonly #live: Store
  #dead = false
  #closed = false

  constructor(disk: Disk, live: Store) {
    this.#disk = disk
    this.#live = live
  }

  die(): void {
    this.#dead = true
  }

  async get(ns: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#check()
    const value = await this.#live.get(ns, key)
    await this.#alive()
    return value
  }

  put(ns: string, key: Uint8Array, value: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.batch([{ type: 'put', ns, key, value }], options)
  }

  delete(ns: string, key: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.batch([{ type: 'delete', ns, key }], options)
  }

  async batch(operations: readonly StoreOp[], options: WriteOptions = {}): Promise<void> {
    this.#check()
    checkOperations(operations)
    if (!this.#dead) await this.#disk.write(operations, options.durable ?? true)
    await this.#alive()
  }

  scan(ns: string, options: ScanOptions = {}): AsyncIterableIterator<StoreEntry> {
    const inner = this.#live.scan(ns, options)
    const check = async (): Promise<void> => {
      this.#check()
      await this.#alive()
    }
    return (async function* () {
      await check()
      for await (const entry of inner) {
        yield entry
        await check()
      }
    })()
  }

  async close(): Promise<void> {
    if (this.#dead || this.#closed) return
    this.#closed = true
    await this.#disk.close()
  }

  #check(): void {
    if (this.#closed) throw new KithError('CLOSED')
  }

  #alive(): Promise<void> {
    return this.#dead ? new Promise(() => {}) : Promise.resolve()
  }
}

function copyOfOperation(operation: StoreOp): StoreOp {
  const key = Uint8Array.from(operation.key)
  return operation.type === 'put' ? { ...operation, key, value: Uint8Array.from(operation.value) } : { ...operation, key }
}
