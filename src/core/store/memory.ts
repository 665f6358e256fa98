import { compare } from '../bytes.ts'
import { KithError } from '../errors.ts'
import { checkKey, checkNamespace, checkOperations, PAGE_BYTES, type Range, rangeOf, scanPages } from './bounds.ts'
import type { Store, StoreEntry, StoreOp } from './types.ts'

/** A store that lives and dies with the process: for tests, the simulator, and nodes that keep nothing. */
export function createMemoryStore(): Store {
  return new MemoryStore()
}

class MemoryStore implements Store {
  /** Sorted by key. */
  readonly #tables: Map<string, StoreEntry[]> = new Map()
  #closed = false

  async get(ns: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#check(ns, key)
    const table = this.#tables.get(ns) ?? []
    const entry = table[lowerBound(table, key)]
    return entry !== undefined && compare(entry.key, key) === 0 ? Uint8Array.from(entry.value) : undefined
  }

  put(ns: string, key: Uint8Array, value: Uint8Array): Promise<void> {
    return this.batch([{ type: 'put', ns, key, value }])
  }

  delete(ns: string, key: Uint8Array): Promise<void> {
    return this.batch([{ type: 'delete', ns, key }])
  }

  async batch(operations: readonly StoreOp[]): Promise<void> {
    if (this.#closed) throw new KithError('CLOSED')
    checkOperations(operations)
    for (const operation of operations) this.#apply(operation)
  }

  scan(ns: string, options: Parameters<Store['scan']>[1] = {}): AsyncIterableIterator<StoreEntry> {
    checkNamespace(ns)
    rangeOf(options)
    return scanPages(options, (range, reverse, rows) => {
      if (this.#closed) throw new KithError('CLOSED')
      return readPage(this.#tables.get(ns) ?? [], range, reverse, rows)
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#tables.clear()
  }

  #check(ns: string, key: Uint8Array): void {
    if (this.#closed) throw new KithError('CLOSED')
    checkNamespace(ns)
    checkKey(key)
  }

  #apply(operation: StoreOp): void {
    const table = this.#tables.get(operation.ns) ?? []
    this.#tables.set(operation.ns, table)
    const at = lowerBound(table, operation.key)
    const present = table[at] !== undefined && compare(table[at].key, operation.key) === 0
    if (operation.type === 'put') table.splice(at, present ? 1 : 0, { key: Uint8Array.from(operation.key), value: Uint8Array.from(operation.value) })
    else if (present) table.splice(at, 1)
  }
}

/** The first place whose key is not below `key`. */
function lowerBound(table: readonly StoreEntry[], key: Uint8Array): number {
  let low = 0
  let high = table.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (compare((table[middle] as StoreEntry).key, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function readPage(table: readonly StoreEntry[], range: Range, reverse: boolean, rows: number): { entries: StoreEntry[]; more: boolean } {
  const start = lowerBound(table, range.from)
  const end = range.to === undefined ? table.length : lowerBound(table, range.to)
  const entries: StoreEntry[] = []
  let bytes = 0
  for (let i = 0; i < end - start; i++) {
    if (entries.length === rows || bytes >= PAGE_BYTES) return { entries, more: true }
    const { key, value } = table[reverse ? end - 1 - i : start + i] as StoreEntry
    entries.push({ key: Uint8Array.from(key), value: Uint8Array.from(value) })
    bytes += key.length + value.length
  }
  return { entries, more: false }
}
