import { closeSync, existsSync, openSync } from 'node:fs'
import { readFile, unlink, writeFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { KithError } from '../core/errors.ts'

/**
 * One process per home. The lock is SQLite's exclusive lock on an empty database, which means a lock that the operating system holds for the process
 * and drops when the process ends in whatever way: there is no stale lock to judge. It also holds between two owners inside one process.
 * The number of the holder stands in a file beside it, for people; it decides nothing.
 */
export interface HomeLock {
  /** Idempotent. */
  release(): Promise<void>
}

/** @throws KithError `HOME_IN_USE`, with the holder's number in `details.pid` where it is known. */
export async function acquireLock(paths: { root: string; lock: string; pid: string }): Promise<HomeLock> {
  // Made once with the right mode. An existing one is opened by SQLite alone: closing any other descriptor of it would drop the process's locks (POSIX).
  if (!existsSync(paths.lock)) closeSync(openSync(paths.lock, 'a', 0o600))
  const database = new DatabaseSync(paths.lock)
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (!isBusy(error)) throw error
    throw await inUse(paths)
  }
  await writeFile(paths.pid, `${process.pid}\n`, { mode: 0o600 })
  let held = true
  return {
    async release() {
      if (!held) return
      held = false
      await unlink(paths.pid).catch(() => undefined)
      database.close()
    },
  }
}

/** The process that holds a home, or `undefined`: a hint for messages. */
export async function lockHolder(pidFile: string): Promise<number | undefined> {
  const text = await readFile(pidFile, 'latin1').catch(() => '')
  const pid = /^([1-9][0-9]{0,9})\n$/.exec(text)?.[1]
  return pid === undefined || !isAlive(Number(pid)) ? undefined : Number(pid)
}

async function inUse(paths: { root: string; pid: string }): Promise<KithError> {
  const pid = await lockHolder(paths.pid)
  const who = pid === undefined ? 'another process' : `process ${pid}`
  return new KithError('HOME_IN_USE', `${who} uses ${paths.root}`, {
    details: { path: paths.root, pid: pid ?? null },
    next: 'kith down (or another home: --home DIR)',
  })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** SQLITE_BUSY (5) and its extended forms. */
function isBusy(error: unknown): boolean {
  const code = (error as { errcode?: number }).errcode
  return code !== undefined && (code & 0xff) === 5
}
