import { compare } from '../bytes.ts'
import {
  MAX_BATCH_OPERATIONS,
  MAX_NAMESPACE_LENGTH,
  MAX_STORE_KEY_BYTES,
  MAX_STORE_VALUE_BYTES,
  type ScanOptions,
  type StoreEntry,
  type StoreOp,
} from './types.ts'

/** What every store checks, and how every store reads a range: in pages, so that no scan ever holds a table. */

/** Rows a page holds at most, and the bytes of keys and values after which it ends early. */
const PAGE_ROWS = 256
export const PAGE_BYTES: number = 1 << 20

export function checkNamespace(ns: string): void {
  if (typeof ns !== 'string' || ns.length > MAX_NAMESPACE_LENGTH || !/^[a-z][a-z0-9/_.-]*$/.test(ns)) {
    throw new TypeError(`not a namespace: ${String(ns)}`)
  }
}

export function checkKey(key: Uint8Array): void {
  if (!(key instanceof Uint8Array) || key.length > MAX_STORE_KEY_BYTES) throw new TypeError(`a key is at most ${MAX_STORE_KEY_BYTES} bytes`)
}

export function checkOperations(operations: readonly StoreOp[]): void {
  if (operations.length > MAX_BATCH_OPERATIONS) throw new TypeError(`at most ${MAX_BATCH_OPERATIONS} operations in a batch, not ${operations.length}`)
  for (const operation of operations) {
    checkNamespace(operation.ns)
    checkKey(operation.key)
    if (operation.type === 'delete') continue
    if (operation.type !== 'put') throw new TypeError('an operation is a put or a delete')
    const { value } = operation
    if (!(value instanceof Uint8Array) || value.length > MAX_STORE_VALUE_BYTES) throw new TypeError(`a value is at most ${MAX_STORE_VALUE_BYTES} bytes`)
  }
}

/** Half-open range of keys: `from` inclusive, `to` exclusive, `undefined` without an end. */
export interface Range {
  readonly from: Uint8Array
  readonly to: Uint8Array | undefined
}

/** Reads one page of `range` in the given direction, at most `rows` entries; fewer only at the end of the range or beyond `PAGE_BYTES`. */
export type ReadPage = (range: Range, reverse: boolean, rows: number) => { entries: StoreEntry[]; more: boolean }

/** The scan of every store, over its way of reading one page. */
export async function* scanPages(options: ScanOptions, readPage: ReadPage): AsyncGenerator<StoreEntry, void, undefined> {
  const reverse = options.reverse ?? false
  let left = options.limit ?? Number.POSITIVE_INFINITY
  let range: Range | undefined = rangeOf(options)
  while (range !== undefined && left > 0) {
    const { entries, more }: ReturnType<ReadPage> = readPage(range, reverse, Math.min(PAGE_ROWS, left))
    yield* entries
    left -= entries.length
    const last: StoreEntry | undefined = entries.at(-1)
    range = more && last !== undefined ? rest(range, last.key, reverse) : undefined
  }
}

/** @throws TypeError for a limit that is not a whole number, or keys beyond the limit. */
export function rangeOf(options: ScanOptions): Range {
  const { prefix, from, to, limit } = options
  for (const key of [prefix, from, to]) if (key !== undefined) checkKey(key)
  if (limit !== undefined && (!Number.isInteger(limit) || limit < 0)) throw new TypeError(`not a limit: ${limit}`)
  const low = prefix ?? new Uint8Array()
  const high = prefix === undefined ? undefined : afterPrefix(prefix)
  return {
    from: Uint8Array.from(from !== undefined && compare(from, low) > 0 ? from : low),
    to: to !== undefined && (high === undefined || compare(to, high) < 0) ? Uint8Array.from(to) : high,
  }
}

/** The smallest key above all keys with this prefix; `undefined` when there is none (empty, or all ff). */
function afterPrefix(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length--
  if (length === 0) return undefined
  const after = Uint8Array.from(prefix.subarray(0, length))
  after[length - 1] = (after[length - 1] as number) + 1
  return after
}

function rest(range: Range, last: Uint8Array, reverse: boolean): Range {
  if (reverse) return { from: range.from, to: last }
  const next = new Uint8Array(last.length + 1)
  next.set(last)
  return { from: next, to: range.to }
}
