import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { loadKeyFile } from '../../identity/keystore-file.ts'
import { type ContainerFile, type Facts, writeContainer } from '../../vault/container.ts'
import type { ContainerRecipients } from '../../vault/container-header.ts'
import { sealSmall } from '../../vault/container-small.ts'
import type { Sink } from '../../vault/container-stream.ts'
import { type HomeFile, homeContents, isKeyFile, STORE_NAME } from './contents.ts'
import type { BackupStage } from './desk.ts'
import type { BackupHeader, SealedKeys } from './format.ts'

export interface CreateBackupOptions extends ContainerRecipients {
  /** By the holder of the home's lock; its files are read without it. */
  readonly stage: BackupStage
  /** Version of the program. */
  readonly version: string
  /**
   * The passphrase of the home, when it is one that nobody knows and no backup carries: the key files are then sealed anew, to the keys of the backup. Absent: they
   * go in as they are. Stays the caller's.
   */
  readonly reseal?: Secret
  readonly sink: Sink
  seal(digest: Uint8Array): Promise<Facts>
  progress?(done: number, total: number): void
  readonly signal?: AbortSignal
}

export interface CreatedBackup {
  readonly header: BackupHeader
  readonly files: number
  /** Bytes of the files. */
  readonly content: number
  /** Bytes of the backup. */
  readonly bytes: number
  /** Names of files that are not in it: taken away meanwhile, or with names that no backup carries. */
  readonly left_out: readonly string[]
}

const PIECE_BYTES: number = 1 << 20

/**
 * Writes a backup of a home to a sink.
 * @throws KithError `FILE_CHANGED` for a file that changed while it was read, `KEYSTORE_DAMAGED`; the signal's reason; what the sink throws.
 */
export async function createBackup(options: CreateBackupOptions): Promise<CreatedBackup> {
  const { stage, progress } = options
  const { files: found, leftOut } = await homeContents(stage.root)
  const missing = [...leftOut]
  const key = await keyFiles(found, options)
  const top = found.filter(({ name }) => !name.includes('/'))
  const below = found.filter(({ name }) => name.includes('/'))
  const store = stage.store === null ? [] : [{ name: STORE_NAME, path: stage.store.path, size: stage.store.size, mtimeMs: stage.store.mtime_ms }]
  const planned = [...top, ...store, ...below].map((file) => ({ ...file, size: key.sealed.get(file.name)?.length ?? file.size }))
  const total = planned.reduce((sum, { size }) => sum + size, 0)
  const header: BackupHeader = {
    did: stage.did,
    name: stage.name,
    link_key: stage.link_key,
    kith: options.version,
    created_at: new Date(stage.created_ms).toISOString(),
    created_ms: stage.created_ms,
    series: stage.series,
    counter: stage.counter,
    boot: stage.boot,
    keys: key.kind,
    recipient: stage.recipient,
    contents: planned.map(({ name, size }) => ({ name, size })),
  }
  async function* contents(): AsyncGenerator<ContainerFile> {
    for (const file of planned) {
      const sealed = key.sealed.get(file.name)
      if (sealed !== undefined) yield { name: file.name, size: sealed.length, mtime: seconds(file.mtimeMs), content: () => pieces(sealed) }
      else if (await isStill(file)) yield { name: file.name, size: file.size, mtime: seconds(file.mtimeMs), content: () => fileContent(file) }
      else missing.push(file.name)
    }
  }
  const { recipients, passphrase, random, sink, seal, signal } = options
  const written = await writeContainer({
    recipients,
    random,
    sink,
    header: { ...header },
    files: contents(),
    mtime: seconds(stage.created_ms),
    seal,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(progress === undefined ? {} : { progress: (bytes: number) => progress(bytes, total) }),
    ...(signal === undefined ? {} : { signal }),
  })
  return { header, files: written.files.length, content: written.content, bytes: written.bytes, left_out: missing }
}

/** Key files sealed to the keys of the backup, by name. */
async function keyFiles(files: readonly HomeFile[], options: CreateBackupOptions): Promise<{ kind: SealedKeys; sealed: ReadonlyMap<string, Uint8Array> }> {
  const sealed = new Map<string, Uint8Array>()
  const keys = files.filter(({ name }) => isKeyFile(name))
  if (keys.length === 0) return { kind: 'none', sealed }
  if (options.reseal === undefined) return { kind: 'passphrase', sealed }
  for (const { name } of keys) {
    const plaintext = await openKeyFile(join(options.stage.root, name), options.reseal)
    if (plaintext === undefined) continue
    try {
      sealed.set(name, await sealSmall(plaintext, options))
    } finally {
      plaintext.wipe()
    }
  }
  return { kind: 'container', sealed }
}

/** `undefined` for one that is sealed by something else or damaged, which must not keep the others out of a backup: it goes in as it is. */
async function openKeyFile(path: string, passphrase: Secret): Promise<Secret | undefined> {
  try {
    return await loadKeyFile(path, passphrase)
  } catch (error) {
    if (path.endsWith('/identity.age') || !isUnopened(error)) throw error
    return undefined
  }
}

function isUnopened(error: unknown): boolean {
  return isKithError(error) && ['PASSPHRASE_WRONG', 'KEYSTORE_DAMAGED', 'KEYSTORE_UNSUPPORTED'].includes(error.code)
}

async function isStill({ path, size }: HomeFile): Promise<boolean> {
  const info = await stat(path).catch(() => undefined)
  return info?.isFile() === true && info.size >= size
}

/** As much as there was when it was listed. What is written over meanwhile shows in its date. */
async function* fileContent(file: HomeFile): AsyncGenerator<Uint8Array> {
  if (file.size > 0) yield* createReadStream(file.path, { highWaterMark: PIECE_BYTES, end: file.size - 1 }) as AsyncIterable<Uint8Array>
  const after = await stat(file.path).catch(() => undefined)
  // A file that was removed while it was open was still read whole.
  if (after !== undefined && after.mtimeMs !== file.mtimeMs) {
    throw new KithError('FILE_CHANGED', `${file.name} changed while it was being read`, { details: { name: file.name }, next: 'run the same command again' })
  }
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
