import { lstat, open } from 'node:fs/promises'
import { KithError } from '../core/errors.ts'

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
