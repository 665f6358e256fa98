import { closeSync, constants, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { makeFolder } from '../../core/make-folder.ts'

export interface LogFile {
  write(line: string): void
  /** Writes what is waiting. */
  flush(): void
  close(): void
  /** Lines lost because the disk refused them. */
  readonly lost: number
}

export interface LogFileOptions {
  readonly path: string
  readonly maxBytes: number
  /** Set-aside files: `kith.log.1` is the newest. */
  readonly keep: number
}

/** Lines waiting for the end of the turn; beyond this they are written at once. */
const MAX_WAITING = 256

/**
 * Appends lines to a file of bounded size. Lines of one turn of the event loop leave as one synchronous write, so a crash loses at most that turn.
 * A full or broken disk never stops the node: lines are counted as lost instead.
 */
export function openLogFile(options: LogFileOptions): LogFile {
  const { path, maxBytes, keep } = options
  makeFolder(dirname(path))
  let fd: number | undefined
  let size = 0
  let waiting: string[] = []
  let scheduled: NodeJS.Immediate | undefined
  let lost = 0

  const open = (): void => {
    fd = openSync(path, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0), 0o600)
    size = fstatSync(fd).size
  }
  const rotate = (): void => {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
    for (let index = keep; index >= 1; index--) {
      try {
        renameSync(index === 1 ? path : `${path}.${index - 1}`, `${path}.${index}`)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    }
    if (keep === 0) rmSync(path, { force: true })
    open()
  }
  const flush = (): void => {
    clearImmediate(scheduled)
    scheduled = undefined
    if (waiting.length === 0) return
    const lines = waiting
    waiting = []
    try {
      const bytes = Buffer.from(lines.join(''))
      if (fd === undefined) open()
      if (size > 0 && size + bytes.length > maxBytes) rotate()
      writeSync(fd as number, bytes)
      size += bytes.length
    } catch {
      lost += lines.length
    }
  }
  return {
    write(line) {
      waiting.push(line.endsWith('\n') ? line : `${line}\n`)
      if (waiting.length >= MAX_WAITING) flush()
      else scheduled ??= setImmediate(flush)
    },
    flush,
    close() {
      flush()
      if (fd !== undefined) closeSync(fd)
      fd = undefined
    },
    get lost() {
      return lost
    },
  }
}
