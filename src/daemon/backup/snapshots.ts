import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { KithError } from '../../core/errors.ts'
import { makeFolder } from '../../core/make-folder.ts'
import { syncDirectory } from '../../identity/atomic-file.ts'

/**
 * Backups that a home keeps of itself, in `HOME/snapshots/`: against a mistake or a bad disk block, not against the loss of the disk. The names tell time and counter,
 * so that listing and pruning need no key.
 */
const FOLDER = 'snapshots'
const NAME = /^(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)-(\d{1,16})\.age$/

export interface Snapshot {
  readonly name: string
  readonly path: string
  readonly bytes: number
  readonly created_at: string
  readonly counter: number
}

/** The folder, made when it is missing. */
export async function snapshotFolder(root: string): Promise<string> {
  const folder = join(root, FOLDER)
  makeFolder(folder)
  return folder
}

export function snapshotName({ created_ms, counter }: { readonly created_ms: number; readonly counter: number }): string {
  return `${new Date(created_ms).toISOString().slice(0, 19).replaceAll(':', '-')}Z-${counter}.age`
}

/** Newest first. */
export async function listSnapshots(root: string): Promise<readonly Snapshot[]> {
  const folder = join(root, FOLDER)
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const found: Snapshot[] = []
  for (const name of names) {
    const [, time, counter] = NAME.exec(name) ?? []
    if (time === undefined || counter === undefined) continue
    const path = join(folder, name)
    const info = await lstat(path).catch(() => undefined)
    if (info?.isFile() !== true) continue
    const [day, hour] = time.slice(0, -1).split('T') as [string, string]
    found.push({ name, path, bytes: info.size, created_at: `${day}T${hour.replaceAll('-', ':')}Z`, counter: Number(counter) })
  }
  return found.sort((a, b) => b.counter - a.counter)
}

/** @throws KithError `NOT_FOUND`. */
export async function findSnapshot(root: string, name: string | undefined): Promise<Snapshot> {
  const all = await listSnapshots(root)
  const found = name === undefined ? all[0] : all.find((snapshot) => snapshot.name === name)
  if (found !== undefined) return found
  throw new KithError('NOT_FOUND', name === undefined ? 'there is no snapshot of this home' : `there is no snapshot ${name}`, {
    next: name === undefined ? 'kith snapshot create' : 'kith snapshot list',
  })
}

/**
 * Keeps the newest; at least one, and the one just made in any case: snapshots of a clock that was ahead, or of what was in the home before, may have higher counters.
 * @returns what was removed.
 */
export async function pruneSnapshots(root: string, keep: number, made?: string): Promise<readonly Snapshot[]> {
  if (!Number.isInteger(keep) || keep < 1) throw new TypeError('at least one snapshot is kept')
  const all = await listSnapshots(root)
  const kept = new Set([...all.filter(({ name }) => name === made), ...all.filter(({ name }) => name !== made)].slice(0, keep))
  const old = all.filter((snapshot) => !kept.has(snapshot))
  for (const { path } of old) await unlink(path)
  if (old.length > 0) await syncDirectory(join(root, FOLDER))
  return old
}
