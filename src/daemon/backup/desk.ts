import { mkdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { AuditEvent } from '../../core/observe/audit.ts'
import type { Random } from '../../core/random.ts'
import { copySqliteStore, openSqliteStore } from '../../core/store/sqlite.ts'
import type { Store } from '../../core/store/types.ts'
import { storedBoot } from '../../identity/boot.ts'
import type { LocalDevice } from '../../identity/device.ts'
import type { Home } from '../../identity/home.ts'
import { NEVER_NAMESPACES, STORE_NAME } from './contents.ts'
import type { Seal } from './format.ts'
import { sealBackup } from './seal.ts'
import { knownCounter, noteCounter, readSeries, writeSeries } from './series.ts'

/** What the holder of a home gives for one backup: a copy of the store as it is now, and what the header says. */
export interface BackupStage {
  readonly id: string
  /** Where the files lie: the home, or the part of it that the second passphrase opens. */
  readonly root: string
  /** The copy; null when the home has no store yet. */
  readonly store: { readonly path: string; readonly size: number; readonly mtime_ms: number } | null
  readonly did: string | null
  readonly name: string | null
  readonly link_key: string | null
  readonly boot: number
  readonly series: string
  readonly counter: number
  readonly recipient: string | null
  readonly created_ms: number
}

export interface BackupDeskParts {
  readonly home: Home
  readonly clock: Clock
  readonly random: Random
  readonly environment: NodeJS.ProcessEnv
  /** Undefined for a home without keys. */
  readonly device: () => LocalDevice | undefined
  /** Undefined while it is not open: it is then opened for as long as the copy takes. */
  readonly store: () => Store | undefined
  /** Where it is noted that a backup was made. */
  readonly audit: () => { append(event: AuditEvent): Promise<unknown> } | undefined
}

/** Backups at once. One that was begun and left alone makes room for the next. */
const MAX_STAGES = 4

/**
 * The part of a backup that only the holder of the home can do: number it, copy the store at one moment, sign. Reading the files, sealing and writing is done by
 * whoever asked, in a process of its own, so a node's event loop never carries it.
 */
export class BackupDesk {
  readonly #parts: BackupDeskParts
  readonly #stages: Map<string, BackupStage> = new Map()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(parts: BackupDeskParts) {
    this.#parts = parts
  }

  /** The backup key this home was told of before, and can rely on; null when it has to be derived from the phrase again. */
  async recipient(): Promise<string | null> {
    const { home, device, random } = this.#parts
    return (await readSeries(home.paths.root, device(), random)).recipient
  }

  /** @throws KithError `STORE_FAILED`, `STORE_LOCKED`, `BACKUP_KEY_WRONG` for another backup key than the one this home knows. */
  begin(wanted: { readonly recipient?: string | undefined } = {}): Promise<BackupStage> {
    const begun = this.#turn.then(() => this.#begin(wanted.recipient))
    this.#turn = begun.catch(() => undefined)
    return begun
  }

  async #begin(recipient: string | undefined): Promise<BackupStage> {
    const { home, clock, random, environment } = this.#parts
    const device = this.#parts.device()
    for (const id of this.#stages.keys()) if (this.#stages.size >= MAX_STAGES) await this.#drop(id)
    const known = await readSeries(home.paths.root, device, random)
    // Whoever may only ask for a backup must not decide who opens all that follow.
    if (recipient !== undefined && known.recipient !== null && recipient !== known.recipient) throw otherKey(home.paths.root)
    const now = Math.floor(clock.now())
    const counter = Math.max(known.counter + 1, (await knownCounter(known.series, environment)) + 1, now)
    const series = { series: known.series, counter, recipient: recipient ?? known.recipient }
    // A number that was given is never given again, also when nothing comes of it.
    await writeSeries(home.paths.root, series, device)
    await noteCounter(series.series, counter, environment)
    const id = toHex(random.bytes(8))
    const stage: BackupStage = {
      id,
      root: home.paths.root,
      store: await this.#copyStore(id),
      did: device?.did ?? null,
      name: device?.name ?? null,
      link_key: device === undefined ? null : toHex(device.linkSigner.publicKey),
      boot: Math.max(device?.content.boot ?? 0, (await storedBoot(home)) ?? 0),
      ...series,
      created_ms: now,
    }
    this.#stages.set(id, stage)
    return stage
  }

  /** @throws KithError `NOT_FOUND` for a backup that is over. */
  seal(id: string, digest: Uint8Array): Seal | Record<string, never> {
    if (!this.#stages.has(id))
      throw new KithError('NOT_FOUND', 'this backup was given up: too many were begun after it', { next: 'run the same command again' })
    const device = this.#parts.device()
    return device === undefined ? {} : sealBackup(device, digest)
  }

  /** Removes the copy. `bytes`: the backup is written, and so long. Idempotent. */
  async end(id: string, bytes?: number): Promise<void> {
    const stage = this.#stages.get(id)
    if (stage === undefined) return
    await this.#drop(id)
    if (bytes === undefined) return
    const details = { counter: stage.counter, series: stage.series, bytes }
    await this.#parts.audit()?.append({ actor: 'owner', action: 'backup.create', subject: stage.did ?? 'home', reason: '', details })
  }

  async close(): Promise<void> {
    await this.#turn
    for (const id of this.#stages.keys()) await this.#drop(id)
  }

  async #drop(id: string): Promise<void> {
    this.#stages.delete(id)
    await rm(this.#folder(id), { recursive: true, force: true })
  }

  async #copyStore(id: string): Promise<BackupStage['store']> {
    const { home, store } = this.#parts
    if ((await stat(home.paths.store).catch(() => undefined)) === undefined) return null
    const folder = this.#folder(id)
    await mkdir(folder, { mode: 0o700 })
    const path = join(folder, STORE_NAME)
    try {
      const open = store()
      if (open !== undefined) await copySqliteStore(open, path, NEVER_NAMESPACES)
      else await this.#copyClosed(path)
      const { size, mtimeMs } = await stat(path)
      return { path, size, mtime_ms: mtimeMs }
    } catch (error) {
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  async #copyClosed(path: string): Promise<void> {
    const store = await openSqliteStore(this.#parts.home.paths.store)
    try {
      await copySqliteStore(store, path, NEVER_NAMESPACES)
    } finally {
      await store.close()
    }
  }

  #folder(id: string): string {
    return join(this.#parts.home.paths.root, `.backup-${id}`)
  }
}

function otherKey(root: string): KithError {
  const path = join(root, 'backup.json')
  return new KithError('BACKUP_KEY_WRONG', 'the backups of this home are sealed to another key of its own', {
    details: { path },
    next: `kith backup FILE --recipient age1… (adds a key; when the phrase of this home is another one now, move ${path} away)`,
  })
}
