/**
 * # Store
 *
 * Ordered maps of bytes, one per namespace (`ns`: lower-case letters, digits and `/_.-`). Keys compare bytewise, shorter first on a common prefix. Every write is atomic; a `batch` is atomic as a
 * whole. Calls take effect in the order in which they are made, and a read sees every write that was called before it.
 *
 * Secrets are never in a store unsealed.
 *
 * Every failure of the medium is a KithError `STORE_FAILED`; every call after `close` throws `CLOSED`. Names, keys and values beyond the limits
 * are the caller's mistake (TypeError): whatever comes from outside is bounded before it gets here.
 */
export interface Store {
  /** A copy of the value. */
  get(ns: string, key: Uint8Array): Promise<Uint8Array | undefined>
  put(ns: string, key: Uint8Array, value: Uint8Array, options?: WriteOptions): Promise<void>
  /** Deleting what is not there is no error. */
  delete(ns: string, key: Uint8Array, options?: WriteOptions): Promise<void>
  /**
   * Entries in order of keys. Read in bounded pages: not a snapshot, but what is there all the time is seen exactly once.
   * Ending the loop early costs nothing.
   */
  scan(ns: string, options?: ScanOptions): AsyncIterableIterator<StoreEntry>
  batch(operations: readonly StoreOp[], options?: WriteOptions): Promise<void>
  /** Finishes what was called before, then releases the medium. Idempotent. */
  close(): Promise<void>
}

export interface WriteOptions {
  /**
   * True (default): when the promise resolves, the write survives a power failure. False: it survives the process, and may be lost, in order,
   * with the machine; for caches and things that are seen again.
   */
  readonly durable?: boolean
}

export interface ScanOptions {
  /** Only keys that begin with these bytes. */
  readonly prefix?: Uint8Array
  /** First key, inclusive. */
  readonly from?: Uint8Array
  /** Last key, exclusive. */
  readonly to?: Uint8Array
  readonly reverse?: boolean
  /** At most this many entries. */
  readonly limit?: number
}

export interface StoreEntry {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export type StoreOp =
  | { readonly type: 'put'; readonly ns: string; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly ns: string; readonly key: Uint8Array }

export const MAX_NAMESPACE_LENGTH = 64
export const MAX_STORE_KEY_BYTES = 1024
/** The largest single thing kept is an identity chain of 4 MiB. */
export const MAX_STORE_VALUE_BYTES: number = 8 << 20
export const MAX_BATCH_OPERATIONS = 10_000
