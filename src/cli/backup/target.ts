import { randomBytes } from 'node:crypto'
import { link, lstat, open, realpath, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { syncDirectory } from '../../identity/atomic-file.ts'
import type { Sink } from '../../vault/container-stream.ts'
import type { CommandContext } from '../context.ts'

/** Where a backup is written. A file gets its name when all of it is on the disk. */
export interface Target {
  readonly sink: Sink
  /** As it was given; absolute for a file. */
  readonly path: string
  finish(): Promise<void>
  /** Removes what was written. Idempotent; nothing after `finish`. */
  discard(): Promise<void>
}

/** `-` is standard output. @throws KithError `FILE_EXISTS`, `FILE_MISSING` for a folder that is not there, `USAGE`, also in the home itself. */
export async function openTarget(context: CommandContext, file: string, force: boolean): Promise<Target> {
  if (file === '-') return standardOutput(context)
  const path = resolve(context.cwd, file)
  const present = await stat(path).catch(() => undefined)
  if (present?.isDirectory() === true) throw new KithError('USAGE', `${path} is a folder; name the file in it.`, { next: 'kith backup --help' })
  // A device or a pipe has no name to wait for.
  if (present !== undefined && !present.isFile()) return await special(path)
  if (present !== undefined && !force) throw taken(path)
  await mustLieOutside(context.home, path)
  return await regular(path, force)
}

/** In the home it would take the place of key files, go down with them, and be in every later backup. Snapshots have a folder of their own. */
async function mustLieOutside(home: string, path: string): Promise<void> {
  const [root, folder] = await Promise.all([home, dirname(path)].map((at) => realpath(at).catch(() => resolve(at))))
  const below = relative(root as string, folder as string)
  if (below.split(sep)[0] === '..' || isAbsolute(below) || below === 'snapshots') return
  throw new KithError('USAGE', `${path} lies in the home of this node; a backup lies elsewhere.`, {
    details: { path },
    next: 'kith snapshot create (or a path outside the home)',
  })
}

function standardOutput({ terminal }: CommandContext): Target {
  if (terminal.visible) throw new KithError('USAGE', 'A backup is not written to a terminal.', { next: 'kith backup FILE' })
  return { path: '-', sink: (bytes) => terminal.send(bytes), finish: async () => {}, discard: async () => {} }
}

async function special(path: string): Promise<Target> {
  const file = await open(path, 'w')
  const close = async (): Promise<void> => await file.close().catch(() => undefined)
  return { path, sink: (bytes) => write(file, bytes, path), finish: close, discard: close }
}

async function regular(path: string, force: boolean): Promise<Target> {
  const partial = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.partial`)
  const file = await open(partial, 'wx', 0o600).catch((cause: NodeJS.ErrnoException) => {
    throw cause.code === 'ENOENT'
      ? new KithError('FILE_MISSING', `There is no folder ${dirname(path)}.`, { cause, next: `mkdir ${dirname(path)}` })
      : new KithError('STORE_FAILED', `${path} cannot be written: ${cause.code ?? cause.message}.`, { cause, next: 'kith backup FILE (in a folder of yours)' })
  })
  let done = false
  return {
    path,
    sink: (bytes) => write(file, bytes, path),
    async finish() {
      await file.sync()
      await file.close()
      await place(partial, path, force)
      done = true
      await syncDirectory(dirname(path))
    },
    async discard() {
      if (done) return
      done = true
      await file.close().catch(() => undefined)
      await unlink(partial).catch(() => undefined)
    },
  }
}

/** A link is refused where something has the name meanwhile; file systems without links get a look and a rename. */
async function place(partial: string, path: string, force: boolean): Promise<void> {
  if (!force) {
    try {
      await link(partial, path)
      await unlink(partial)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw taken(path)
      if ((await lstat(path).catch(() => undefined)) !== undefined) throw taken(path)
    }
  }
  await rename(partial, path)
}

async function write(file: { write(bytes: Uint8Array, at: number): Promise<{ bytesWritten: number }> }, bytes: Uint8Array, path: string): Promise<void> {
  try {
    for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
      throw new KithError('STORE_FAILED', `There is no room for the backup at ${path}.`, {
        cause,
        details: { reason: code },
        next: 'kith backup FILE (on a disk with room; what was begun is removed)',
      })
    }
    throw cause
  }
}

function taken(path: string): KithError {
  return new KithError('FILE_EXISTS', `${path} is there already.`, { details: { path }, next: 'kith backup FILE --force (or another name)' })
}
