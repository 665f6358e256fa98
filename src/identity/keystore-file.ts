import { createHash } from 'node:crypto'
import { rename, unlink } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { equal } from '../core/bytes.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { MAX_AGE_FILE_BYTES, openAge, type SealOptions, sealAge } from './age-file.ts'
import { syncDirectory, writeAtomic } from './atomic-file.ts'
import { readPrivateFile } from './private-file.ts'

/**
 * # A key file and its checksum
 *
 * age cannot tell a wrong passphrase from a damaged header: both simply do not open. So beside `NAME.age` stands `NAME.age.sum`, in the form of `sha256sum`.
 *
 * ```text
 * stage      NAME.age.new written and synced; over an older file it is also read back, opened by the passphrase and compared
 * replace    NAME.age.sum lists the new and the old checksum     NAME.age.new -> NAME.age     NAME.age.sum lists the new one alone
 * ```
 *
 * Until a new file has proven that it opens, the older one stands untouched; wherever a save is cut, the file that stands there is whole and listed.
 * What is left of a save that was cut is removed when the home is next taken (`finishKeyChange`).
 */
const SUM_LINE = /^([0-9a-f]{64}) {2}\S+$/
const MAX_SUM_BYTES = 1024

export function sumPath(path: string): string {
  return `${path}.sum`
}

export function stagedPath(path: string): string {
  return `${path}.new`
}

/**
 * Seals and replaces the file. Takes as long as scrypt does (about 0.6 s), twice when there is a file to replace.
 * @throws KithError `KEYSTORE_NOT_SAVED`: the file is as it was before.
 */
export async function saveKeyFile(path: string, plaintext: Secret, passphrase: Secret, options: SealOptions): Promise<void> {
  const digest = await stageKeyFile(path, plaintext, passphrase, options)
  try {
    await replaceByStaged(path, digest)
  } catch (error) {
    throw notSaved(path, error)
  }
}

/** Writes `NAME.age.new` and gives its checksum. @throws KithError `KEYSTORE_NOT_SAVED`, with nothing left behind. */
export async function stageKeyFile(path: string, plaintext: Secret, passphrase: Secret, options: SealOptions): Promise<string> {
  const sealed = await sealAge(plaintext, passphrase, options)
  const staged = stagedPath(path)
  try {
    await writeAtomic(staged, sealed)
    if ((await readPrivateFile(path, MAX_AGE_FILE_BYTES)) !== undefined) await prove(staged, sealed, plaintext, passphrase)
  } catch (error) {
    await unlink(staged).catch(() => undefined)
    throw notSaved(path, error)
  }
  return digestOf(sealed)
}

/** A file that cannot be opened must not take the place of one that can: disks, memory and programs have faults. */
async function prove(staged: string, sealed: Uint8Array, plaintext: Secret, passphrase: Secret): Promise<void> {
  const written = await readPrivateFile(staged, MAX_AGE_FILE_BYTES)
  if (written === undefined || !equal(written, sealed)) throw new Error('the disk gives back something else than was written')
  const opened = await openAge(written, passphrase)
  try {
    if (!opened.equals(plaintext)) throw new Error('the file opens to something else than was sealed')
  } finally {
    opened.wipe()
  }
}

/** Puts the staged file of this checksum in its place. Goes on wherever it was cut before. */
export async function replaceByStaged(path: string, digest: string): Promise<void> {
  const name = basename(path)
  const staged = await readPrivateFile(stagedPath(path), MAX_AGE_FILE_BYTES)
  if (staged !== undefined && digestOf(staged) === digest) {
    const present = await readPrivateFile(path, MAX_AGE_FILE_BYTES)
    await writeAtomic(sumPath(path), sumFile([digest, ...(present === undefined ? [] : [digestOf(present)])], name))
    await rename(stagedPath(path), path)
    await syncDirectory(dirname(path))
  }
  const placed = await readPrivateFile(path, MAX_AGE_FILE_BYTES)
  if (placed === undefined || digestOf(placed) !== digest) return
  // The file is in its place and listed; that the old checksum is listed too does no harm when this last write finds no room.
  await writeAtomic(sumPath(path), sumFile([digest], name)).catch(() => undefined)
}

/**
 * Opens the file; `undefined` when there is none.
 * @throws KithError `PASSPHRASE_WRONG`, `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`, `HOME_UNSAFE`.
 */
export async function loadKeyFile(path: string, passphrase: Secret): Promise<Secret | undefined> {
  const sealed = await readPrivateFile(path, MAX_AGE_FILE_BYTES)
  if (sealed === undefined) return undefined
  try {
    return await openAge(sealed, passphrase, await intact(path, sealed))
  } catch (error) {
    if (!isKithError(error)) throw error
    throw new KithError(error.code, error.message, {
      details: { ...error.details, path },
      cause: error,
      ...(error.next === undefined ? {} : { next: error.next }),
    })
  }
}

/** Whether the file's bytes are those that were written; `undefined` when no checksum is left to tell. Needs no passphrase: `doctor` asks it. */
export async function keyFileIntact(path: string): Promise<boolean | undefined> {
  const sealed = await readPrivateFile(path, MAX_AGE_FILE_BYTES)
  return sealed === undefined ? undefined : intact(path, sealed)
}

async function intact(path: string, sealed: Uint8Array): Promise<boolean | undefined> {
  const text = await readPrivateFile(sumPath(path), MAX_SUM_BYTES)
  if (text === undefined) return undefined
  const lines = Buffer.from(text).toString('latin1').trimEnd().split('\n')
  const sums = lines.map((line) => SUM_LINE.exec(line)?.[1])
  if (sums.some((sum) => sum === undefined)) return undefined
  return sums.includes(digestOf(sealed))
}

function digestOf(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

function sumFile(sums: readonly string[], name: string): Uint8Array {
  return Buffer.from(sums.map((sum) => `${sum}  ${name}\n`).join(''))
}

/** @param cause What the file system said; a KithError that says what to do itself is passed on. */
export function notSaved(path: string, cause: unknown): KithError {
  if (isKithError(cause, 'HOME_UNSAFE')) return cause
  const { code } = cause as NodeJS.ErrnoException
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new KithError('KEYSTORE_NOT_SAVED', full ? 'There is no room on the disk for the key file; the one before stands.' : undefined, {
    details: { path, reason: typeof code === 'string' ? code : 'it could not be proven that the new file opens' },
    next: full ? `free some space on the disk of ${dirname(path)}, then the same again` : 'kith doctor, then the same again',
    cause,
  })
}
