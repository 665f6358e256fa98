import { KithError } from '../../src/core/errors.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { ScanOptions, Store, StoreEntry, StoreOp, WriteOptions } from '../../src/core/store/types.ts'

/** What is left when the machine is off. */
export class Disk {
  readonly store: Store = createMemoryStore()
  readonly namespaces: Set<string> = new Set()
}

/**
 * A store on a machine that stops at its n-th write: before it is made, or right after, so that whoever wrote never hears of it. What was not durable by then is lost,
 * in order, as with a machine that lost its power.
 */
export class CrashStore implements Store {
  /** What the process sees. */
  readonly #now: Store = createMemoryStore()
  readonly #disk: Disk
  #pending: StoreOp[] = []
  #writes = 0
  #crashAt = Number.POSITIVE_INFINITY
  #after = false
  crashed = false

  private constructor(disk: Disk) {
    this.#disk = disk
  }

  /** What is left on the disk is what is there at first. */
  static async on(disk: Disk): Promise<CrashStore> {
    const store = new CrashStore(disk)
    for (const ns of disk.namespaces) for await (const { key, value } of disk.store.scan(ns)) await store.#now.put(ns, key, value)
    return store
  }

  /** Stops at the n-th write from now on to a namespace of mail. */
  crash(n: number, after: boolean): void {
    this.#crashAt = this.#writes + n
    this.#after = after
  }

  /** Loses power now. */
  pull(): void {
    this.crashed = true
  }

  get(ns: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#now.get(ns, key)
  }
  put(ns: string, key: Uint8Array, value: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.batch([{ type: 'put', ns, key, value }], options)
  }
  delete(ns: string, key: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.batch([{ type: 'delete', ns, key }], options)
  }
  scan(ns: string, options?: ScanOptions): AsyncIterableIterator<StoreEntry> {
    return this.#now.scan(ns, options)
  }
  async batch(operations: readonly StoreOp[], options: WriteOptions = {}): Promise<void> {
    if (this.crashed) throw new KithError('STORE_FAILED', 'the machine is off')
    if (operations.some(({ ns }) => ns.startsWith('mail/'))) {
      this.#writes++
      if (this.#writes === this.#crashAt && !this.#after) this.#fail()
    }
    this.#pending.push(...operations)
    if (options.durable !== false) {
      const written = this.#pending
      this.#pending = []
      for (const { ns } of written) this.#disk.namespaces.add(ns)
      await this.#disk.store.batch(written)
    }
    await this.#now.batch(operations)
    if (this.#writes >= this.#crashAt) this.#fail()
  }
  async close(): Promise<void> {}

  #fail(): never {
    this.crashed = true
    throw new KithError('STORE_FAILED', 'the machine lost its power')
  }
}
