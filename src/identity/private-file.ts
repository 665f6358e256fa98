import { constants } from 'node:fs'
import { lstat, open } from 'node:fs/promises'
import { KithError } from '../core/errors.ts'

/** Absent where opening waits for nobody. */
const NONBLOCK = (constants as { readonly O_NONBLOCK?: number }).O_NONBLOCK ?? 0
/** Files of the system say that they are empty. */
const MIN_READ_BYTES = 4_096

/**
 * Reads a key file (or another private file) of at most `limit` bytes. `undefined` when there is none.
 * @throws KithError `HOME_UNSAFE` for a symbolic link, anything but a regular file, another owner or rights for others.
 */
export async function readPrivateFile(path: string, limit: number): Promise<Uint8Array | undefined> {
  const info = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return undefined
  })
  if (info === undefined) return undefined
  if (!info.isFile()) throw unsafe(path, 'it is not a regular file', `remove ${path}`)
  checkOwner(path, info)
  const file = await open(path, 'r')
  try {
    // The file that is open is the one that counts: it may have been exchanged since.
    const opened = await file.stat()
    if (opened.ino !== info.ino || opened.dev !== info.dev) throw unsafe(path, 'it was exchanged while it was being opened', 'try again')
    if (opened.size > limit) throw new KithError('KEYSTORE_DAMAGED', `the file is longer than ${limit} bytes`, { details: { path, length: opened.size } })
    return new Uint8Array(await file.readFile())
  } finally {
    await file.close()
  }
}

export function checkOwner(path: string, info: { uid: number; mode: number; isDirectory(): boolean }): void {
  if (process.platform === 'win32') return
  if (info.uid !== process.getuid?.()) throw unsafe(path, 'it belongs to another user', `run as its owner, or chown it`)
  if ((info.mode & 0o077) !== 0) throw unsafe(path, 'other users have rights to it', `chmod ${info.isDirectory() ? '700' : '600'} ${path}`)
}

export function unsafe(path: string, reason: string, next: string): KithError {
  return new KithError('HOME_UNSAFE', `${path} is not safe for keys: ${reason}`, { details: { path, reason }, next })
}

/** Reads a file from anywhere, of at most `limit` bytes. @throws KithError `FILE_MISSING`, `KEYSTORE_DAMAGED` when it is longer. */
export async function readFileUpTo(path: string, limit: number): Promise<Uint8Array> {
  try {
    const file = await open(path, 'r')
    try {
      const { size } = await file.stat()
      if (size > limit)
        throw new KithError('KEYSTORE_DAMAGED', `the file is longer than ${limit} bytes`, { details: { path, length: size }, next: 'another file' })
      return new Uint8Array(await file.readFile())
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof KithError) throw error
    throw new KithError('FILE_MISSING', `${path} cannot be read.`, { details: { path }, cause: error })
  }
}

export type NamedFile = { readonly kind: 'file'; readonly bytes: Buffer; readonly mode: number } | { readonly kind: 'other' } | { readonly kind: 'too-long' }

/**
 * Reads a file that a configuration names, of at most `limit` bytes. Nothing else than a regular file is read, and nothing is waited for: to open a pipe that
 * nobody writes to would take for ever.
 * @throws the system's error where the file cannot be opened or read.
 */
export async function readNamedFile(path: string, limit: number): Promise<NamedFile> {
  const file = await open(path, constants.O_RDONLY | NONBLOCK)
  try {
    const info = await file.stat()
    if (!info.isFile()) return { kind: 'other' }
    if (info.size > limit) return { kind: 'too-long' }
    // It may grow while it is read.
    const buffer = Buffer.alloc(Math.min(limit, Math.max(info.size, MIN_READ_BYTES)) + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read) read = (await file.read(buffer, length, buffer.length - length)).bytesRead
    return length === buffer.length ? { kind: 'too-long' } : { kind: 'file', bytes: buffer.subarray(0, length), mode: info.mode }
  } finally {
    await file.close()
  }
}
