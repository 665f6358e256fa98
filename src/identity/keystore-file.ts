import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { isKithError, KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { MAX_AGE_FILE_BYTES, openAge, type SealOptions, sealAge } from './age-file.ts'
import { writeAtomic } from './atomic-file.ts'
import { readPrivateFile } from './home.ts'

/**
 * # A key file and its checksum
 *
 * age cannot tell a wrong passphrase from a damaged header: both simply do not open. So beside `NAME.age` stands `NAME.age.sum`, in the form of `sha256sum`.
 * A save writes three times, each atomic: the checksums of the new and the old file, the new file, the checksum of the new file alone. Wherever that is cut,
 * the file that stands there is one of those listed.
 */
const SUM_LINE = /^([0-9a-f]{64}) {2}\S+$/
const MAX_SUM_BYTES = 1024

export function sumPath(path: string): string {
  return `${path}.sum`
}

/** Seals and replaces the file. Takes as long as scrypt does (about 0.6 s). */
export async function saveKeyFile(path: string, plaintext: Secret, passphrase: Secret, options: SealOptions): Promise<void> {
  const sealed = await sealAge(plaintext, passphrase, options)
  const present = await readPrivateFile(path, MAX_AGE_FILE_BYTES)
  const name = basename(path)
  const sums = [digest(sealed), ...(present === undefined ? [] : [digest(present)])]
  await writeAtomic(sumPath(path), sumFile(sums, name))
  await writeAtomic(path, sealed)
  await writeAtomic(sumPath(path), sumFile(sums.slice(0, 1), name))
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
  return sums.includes(digest(sealed))
}

function digest(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

function sumFile(sums: readonly string[], name: string): Uint8Array {
  return Buffer.from(sums.map((sum) => `${sum}  ${name}\n`).join(''))
}
