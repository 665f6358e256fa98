import { closeSync, openSync, rmSync } from 'node:fs'
import { backup, DatabaseSync, type StatementSync } from 'node:sqlite'
import { KithError } from '../errors.ts'
import { checkKey, checkNamespace, checkOperations, PAGE_BYTES, type Range, rangeOf, scanPages } from './bounds.ts'
import type { ScanOptions, Store, StoreEntry, StoreOp, WriteOptions } from './types.ts'

/**
 * # SQLite store
 *
 * One file (0600) and its write-ahead log. The connection holds the file for as long as it is open: a second process, or a second open here, gets
 * `STORE_LOCKED` at once; the system lets go when a process dies, however it dies.
 *
 * A commit that survives a power failure costs one sync of the disk, and node:sqlite works on the event loop's own thread. So writes called in one
 * turn of the loop share a transaction: each batch stays atomic (all of a transaction is), the loop pays one sync per turn, not one per write.
 * A transaction of which nobody asked to be durable is written without a sync.
 */
const SCHEMA_VERSION = 1
/** Of a copy: 1 MiB, so that the loop never waits long for the database. */
const PAGES_AT_ONCE = 256
const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6

/**
 * Opens or creates the store in the file `path`; the directory exists already.
 * @throws KithError `STORE_LOCKED` while another holds it; `STORE_FAILED` when it cannot be opened or is not such a store.
 */
export async function openSqliteStore(path: string): Promise<Store> {
  let database: DatabaseSync | undefined
  try {
    closeSync(openSync(path, 'a', 0o600))
    database = new DatabaseSync(path, { timeout: 0 })
    prepare(database)
    return new SqliteStore(database)
  } catch (error) {
    if (database?.isOpen === true) database.close()
    throw asStoreError(error)
  }
}

/**
 * Copies a store, as it is at one moment, into a new file, while it goes on being used; `without` names namespaces that stay out. What the copy holds is in the one
 * file, and nothing that was left out can be found in it.
 * @throws KithError `UNSUPPORTED` for a store of another kind; `STORE_FAILED`, with nothing left behind, also when the file is there already.
 */
export async function copySqliteStore(store: Store, path: string, without: readonly string[]): Promise<void> {
  if (!(store instanceof SqliteStore)) throw new KithError('UNSUPPORTED', 'only a store on disk can be copied')
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    throw asStoreError(error)
  }
  try {
    await store.copyTo(path)
    const copy = new DatabaseSync(path)
    try {
      copy.exec('PRAGMA trusted_schema=OFF; PRAGMA secure_delete=ON')
      const remove = copy.prepare('DELETE FROM entries WHERE namespace = ?')
      for (const namespace of without) remove.run(namespace)
      // One file, without a log beside it.
      copy.exec('PRAGMA journal_mode=DELETE')
    } finally {
      copy.close()
    }
  } catch (error) {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${path}${end}`, { force: true })
    throw asStoreError(error)
  }
}

function prepare(database: DatabaseSync): void {
  database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF')
  // What was deleted is overwritten, and the log shrinks when it begins anew: keys that were wiped must not be found in either file.
  database.exec('PRAGMA secure_delete=ON; PRAGMA journal_size_limit=0')
  // In exclusive mode the lock is taken by the first write and then kept.
  database.exec('BEGIN IMMEDIATE')
  const version = database.prepare('PRAGMA user_version').get()?.user_version
  if (version === 0) {
    database.exec('CREATE TABLE entries (namespace TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (namespace, key)) STRICT')
    database.exec(`PRAGMA user_version=${SCHEMA_VERSION}`)
  } else if (version !== SCHEMA_VERSION) {
    throw new KithError('STORE_FAILED', `The store is of version ${String(version)}; this build reads version ${SCHEMA_VERSION}.`)
  }
  database.exec('COMMIT')
}

interface Waiting {
  readonly operations: readonly StoreOp[]
  readonly durable: boolean
  readonly resolve: () => void
  readonly reject: (error: KithError) => void
}

class SqliteStore implements Store {
  readonly #database: DatabaseSync
  readonly #get: StatementSync
  readonly #put: StatementSync
  readonly #delete: StatementSync
  readonly #pages: Map<string, StatementSync> = new Map()
  #waiting: Waiting[] = []
  #scheduled: NodeJS.Immediate | undefined
  #synchronous = true
  #closed = false
  readonly #copying: Set<Promise<unknown>> = new Set()

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#get = database.prepare('SELECT value FROM entries WHERE namespace = ? AND key = ?')
    this.#put = database.prepare('INSERT INTO entries (namespace, key, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
    this.#delete = database.prepare('DELETE FROM entries WHERE namespace = ? AND key = ?')
  }

  async get(ns: string, key: Uint8Array): Promise<Uint8Array | undefined> {
    checkNamespace(ns)
    checkKey(key)
    return this.#read(() => this.#get.get(ns, key)?.value as Uint8Array | undefined)
  }

  put(ns: string, key: Uint8Array, value: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.batch([{ type: 'put', ns, key, value }], options)
  }

  delete(ns: string, key: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.batch([{ type: 'delete', ns, key }], options)
  }

  async batch(operations: readonly StoreOp[], options: WriteOptions = {}): Promise<void> {
    if (this.#closed) throw new KithError('CLOSED')
    checkOperations(operations)
    const owned = operations.map(copyOf)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations: owned, durable: options.durable ?? true, resolve, reject })
      this.#scheduled ??= setImmediate(() => this.#commit())
    })
  }

  scan(ns: string, options: ScanOptions = {}): AsyncIterableIterator<StoreEntry> {
    checkNamespace(ns)
    rangeOf(options)
    return scanPages(options, (range, reverse, rows) => this.#read(() => this.#readPage(ns, range, reverse, rows)))
  }

  /** The pages of the file, by another thread; writes of this connection that come in between are part of the copy. */
  async copyTo(path: string): Promise<void> {
    if (this.#closed) throw new KithError('CLOSED')
    this.#commit()
    const copying = backup(this.#database, path, { rate: PAGES_AT_ONCE })
    this.#copying.add(copying)
    try {
      await copying
    } finally {
      this.#copying.delete(copying)
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#commit()
    this.#closed = true
    await Promise.allSettled(this.#copying)
    try {
      this.#database.close()
    } catch (error) {
      throw asStoreError(error)
    }
  }

  /** A read sees every write called before it, so what waits is written first. */
  #read<T>(read: () => T): T {
    if (this.#closed) throw new KithError('CLOSED')
    this.#commit()
    try {
      return read()
    } catch (error) {
      throw asStoreError(error)
    }
  }

  /** Writes everything that waits in one transaction; never throws. */
  #commit(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    try {
      this.#setSynchronous(waiting.some(({ durable }) => durable))
      this.#database.exec('BEGIN IMMEDIATE')
      for (const { operations } of waiting) for (const operation of operations) this.#apply(operation)
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#rollBack()
      const failure = asStoreError(error)
      for (const { reject } of waiting) reject(failure)
      return
    }
    for (const { resolve } of waiting) resolve()
  }

  #apply(operation: StoreOp): void {
    if (operation.type === 'put') this.#put.run(operation.ns, operation.key, operation.value)
    else this.#delete.run(operation.ns, operation.key)
  }

  #rollBack(): void {
    try {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
    } catch {
      // The transaction is gone either way: SQLite rolls back by itself on the errors that make ROLLBACK fail.
    }
  }

  /** FULL syncs the log at every commit; NORMAL leaves it to the next one that does. A sync covers everything written before it. */
  #setSynchronous(full: boolean): void {
    if (full === this.#synchronous) return
    this.#database.exec(`PRAGMA synchronous=${full ? 'FULL' : 'NORMAL'}`)
    this.#synchronous = full
  }

  #readPage(ns: string, range: Range, reverse: boolean, rows: number): { entries: StoreEntry[]; more: boolean } {
    const statement = this.#pageStatement(range.to !== undefined, reverse)
    const bounds = range.to === undefined ? [range.from] : [range.from, range.to]
    const entries: StoreEntry[] = []
    let bytes = 0
    for (const row of statement.iterate(ns, ...bounds, rows + 1)) {
      if (entries.length === rows || bytes >= PAGE_BYTES) return { entries, more: true }
      const entry = { key: row.key as Uint8Array, value: row.value as Uint8Array }
      entries.push(entry)
      bytes += entry.key.length + entry.value.length
    }
    return { entries, more: false }
  }

  #pageStatement(bounded: boolean, reverse: boolean): StatementSync {
    const below = bounded ? 'AND key < ? ' : ''
    const sql = `SELECT key, value FROM entries WHERE namespace = ? AND key >= ? ${below}ORDER BY key ${reverse ? 'DESC' : 'ASC'} LIMIT ?`
    const statement = this.#pages.get(sql) ?? this.#database.prepare(sql)
    this.#pages.set(sql, statement)
    return statement
  }
}

/** The caller may reuse its memory once the call has returned. */
function copyOf(operation: StoreOp): StoreOp {
  const key = Uint8Array.from(operation.key)
  return operation.type === 'put' ? { ...operation, key, value: Uint8Array.from(operation.value) } : { ...operation, key }
}

function asStoreError(error: unknown): KithError {
  if (error instanceof KithError) return error
  const number = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : undefined
  // The low byte is the primary result code, the rest refines it.
  const primary = number === undefined ? undefined : number & 0xff
  if (primary === SQLITE_BUSY || primary === SQLITE_LOCKED) return new KithError('STORE_LOCKED', undefined, { cause: error })
  const reason = error instanceof Error ? error.message : 'unknown'
  return new KithError('STORE_FAILED', `The store could not read or write: ${reason}.`, {
    details: number === undefined ? {} : { sqlite: number },
    cause: error,
  })
}
