import { lstat, open, readdir, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Identity } from 'age-encryption'
import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { makeFolder } from '../../core/make-folder.ts'
import { createAudit } from '../../core/observe/audit.ts'
import type { Random } from '../../core/random.ts'
import { openSqliteStore } from '../../core/store/sqlite.ts'
import { syncDirectory, writeAtomic } from '../../identity/atomic-file.ts'
import { writeBoot } from '../../identity/boot.ts'
import { type Home, homePaths, openHome } from '../../identity/home.ts'
import { openSwitch, SAFETY, switchHome } from '../../identity/home-switch.ts'
import { forgetStatePassphrase } from '../../identity/passphrase.ts'
import type { ReadingFile } from '../../vault/container.ts'
import type { Source } from '../../vault/container-stream.ts'
import type { IdentitySummary } from '../identity/describe.ts'
import { NEVER_NAMESPACES, STORE_NAME } from './contents.ts'
import type { BackupHeader } from './format.ts'
import { readBackup } from './read.ts'
import { type RestoredKeys, type RestoreKeys, restoreKeys } from './restore-keys.ts'
import { knownCounter, noteCounter, readSeries, writeSeries } from './series.ts'

export interface RestoreOptions extends RestoreKeys {
  /** The home, made when it is missing. */
  readonly directory: string
  readonly source: Source
  /** What opens the backup. */
  readonly identities: readonly Identity[]
  /** Whether what is in the home may be moved aside. */
  readonly force: boolean
  /** Whether an older backup than the newest known one will do. */
  readonly allowRollback: boolean
  readonly environment: NodeJS.ProcessEnv
  readonly clock: Clock
  readonly random: Random
  progress?(done: number, total: number): void
  readonly signal?: AbortSignal
}

export interface RestoredHome {
  readonly header: BackupHeader
  readonly files: number
  readonly content: number
  /** Null when the backup holds no identity. */
  readonly identity: IdentitySummary | null
  /** Where what was there before lies; null when the home was empty. */
  readonly safety: string | null
  /** Key files that open with the passphrase of then alone. */
  readonly still_sealed: readonly string[]
  /** Counter of the newest backup that is known, when it is not this one. */
  readonly newer: number | null
}

/** Stays where it is: the lock that is held, what belongs to this run, copies. */
const STAYS: ReadonlySet<string> = new Set(['kith.lock', 'kith.pid', 'kith.lock-journal', 'control', 'log', 'snapshots', SAFETY])
/** A home that holds no more than this is empty. */
const TRACES: ReadonlySet<string> = new Set(['id', ...STAYS])

/**
 * Puts a backup into a home: read, verified and completed aside, then exchanged as one. Until then, and whatever fails, the home is as it was.
 * @throws KithError `HOME_IN_USE`, `HOME_NOT_EMPTY`, `BACKUP_ROLLBACK`, `PASSPHRASE_REQUIRED`, `PASSPHRASE_WRONG`, `STORE_FAILED` when the disk is full, and as `readBackup`.
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoredHome> {
  const id = toHex(options.random.bytes(8))
  const root = resolve(options.directory)
  try {
    return await withHome(options, id)
  } catch (error) {
    throw asRestoreError(error, await isSwitched(root, id))
  }
}

async function withHome(options: RestoreOptions, id: string): Promise<RestoredHome> {
  await using home = await openHome(options.directory)
  const { root } = home.paths
  const present = (await readdir(root)).filter((name) => !STAYS.has(name) && !/^\.(restore|backup)-/.test(name))
  const old = present.some((name) => !TRACES.has(name)) ? present : []
  if (!options.force && old.length > 0) {
    throw new KithError('HOME_NOT_EMPTY', `something is in ${root} already`, {
      details: { path: root },
      next: 'kith restore FILE --force (what is there is moved aside; or take another home)',
    })
  }
  try {
    return await fill(options, home, id, await openSwitch(root, id), old)
  } catch (error) {
    // From when the note of the switch is written on, the new content counts: whoever takes the home next goes on with it.
    if (!(await isSwitched(root, id))) await rm(join(root, `.restore-${id}`), { recursive: true, force: true }).catch(() => undefined)
    throw error
  }
}

async function fill(options: RestoreOptions, home: Home, id: string, stage: string, old: readonly string[]): Promise<RestoredHome> {
  const { source, identities, environment, clock, random, allowRollback, progress, signal } = options
  let newest = 0
  const read = await readBackup({
    source,
    identities,
    async onHeader(header) {
      newest = await newestKnown(home.paths.root, header.series, environment, random)
      if (newest > header.counter && !allowRollback) throw rollback(header, newest)
    },
    onFile: (file) => writeFile(stage, file),
    ...(progress === undefined ? {} : { progress }),
    ...(signal === undefined ? {} : { signal }),
  })
  const { header } = read
  const place: Home = { id: toHex(random.bytes(16)), paths: homePaths(stage), close: nothing, [Symbol.asyncDispose]: nothing, ...tokensOf(home) }
  await writeAtomic(place.paths.id, Buffer.from(`${place.id}\n`))
  // Links are made with new keys, and their runs are numbered above anything this identity has shown.
  await writeBoot(place, Math.max(header.boot, Math.floor(clock.now() / 1000)))
  let keys: RestoredKeys | undefined
  try {
    keys = await restoreKeys(place, read, options)
    await cleanStore(place, read.header, clock)
    const counter = Math.max(newest, header.counter)
    await writeSeries(stage, { series: header.series, counter, recipient: header.recipient }, keys.device)
    signal?.throwIfAborted()
    await noteCounter(header.series, counter, environment)
    const name = `${new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-')}-${id}`
    await switchHome(home.paths.root, id, name, old)
    return {
      header,
      files: read.files,
      content: read.content,
      identity: keys.summary ?? null,
      safety: old.length === 0 ? null : join(home.paths.root, SAFETY, name),
      still_sealed: keys.stillSealed,
      newer: newest > header.counter ? newest : null,
    }
  } catch (error) {
    if (keys?.kept === true && !(await isSwitched(home.paths.root, id))) await forgetStatePassphrase(place.id, environment)
    throw error
  } finally {
    keys?.device?.close()
  }
}

/** Once the note of the switch is written, the new content counts and its passphrase is needed. */
async function isSwitched(root: string, id: string): Promise<boolean> {
  return await lstat(join(root, `.restore-${id}`, 'commit')).then(
    () => true,
    () => false,
  )
}

/** By this home and by this user of the machine. */
async function newestKnown(root: string, series: string, environment: NodeJS.ProcessEnv, random: Random): Promise<number> {
  const own = await readSeries(root, undefined, random)
  return Math.max(own.series === series ? own.counter : 0, await knownCounter(series, environment))
}

/** The archive's names are plain relative paths without links on the way: the folder is ours and empty. */
async function writeFile(stage: string, file: ReadingFile): Promise<void> {
  const path = join(stage, file.name)
  if (file.name.includes('/')) makeFolder(dirname(path))
  const target = await open(path, 'wx', 0o600)
  try {
    for await (const piece of file.content()) {
      for (let at = 0; at < piece.length; ) at += (await target.write(piece, at)).bytesWritten
    }
    await target.utimes(file.mtime, file.mtime)
    await target.sync()
  } finally {
    await target.close()
  }
  if (file.name.includes('/')) await syncDirectory(dirname(path))
}

/** One-time keys and open tickets of then are not good a second time; the log says what happened. */
async function cleanStore(place: Home, header: BackupHeader, clock: Clock): Promise<void> {
  if ((await lstat(place.paths.store).catch(() => undefined)) === undefined) return
  const store = await openSqliteStore(place.paths.store)
  try {
    for (const ns of NEVER_NAMESPACES) for await (const { key } of store.scan(ns)) await store.delete(ns, key)
    const details = { counter: header.counter, series: header.series, made: header.created_at }
    await createAudit({ store, clock }).append({ actor: 'owner', action: 'backup.restore', subject: header.did ?? 'home', reason: '', details })
  } finally {
    await store.close()
  }
  for (const end of ['-wal', '-shm']) await rm(join(dirname(place.paths.store), `${STORE_NAME}${end}`), { force: true })
}

function rollback(header: BackupHeader, newest: number): KithError {
  const then = new Date(header.counter).toISOString()
  return new KithError('BACKUP_ROLLBACK', `this backup is of ${then}; a newer one, of ${new Date(newest).toISOString()}, is known here`, {
    details: { counter: header.counter, newest },
    next: 'restore the newest backup; to go back in time all the same: kith restore FILE --allow-rollback',
  })
}

/** A full disk and a damaged one are told as such. */
function asRestoreError(error: unknown, switched: boolean): unknown {
  const code = (error as NodeJS.ErrnoException).code
  if (isKithError(error) || code === undefined) return error
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  const [what, next] = switched
    ? ['The disk is full; the restore ends when the home is next used.', 'make room, then kith status']
    : ['The disk is full; the home is as it was.', 'make room, then the same command again']
  return new KithError('STORE_FAILED', what, { cause: error, details: { reason: code }, next })
}

function tokensOf({ tokens }: Home): Pick<Home, 'tokens'> {
  return tokens === undefined ? {} : { tokens }
}

async function nothing(): Promise<void> {}
