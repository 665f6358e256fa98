import type { LogFile } from './file.ts'
import { createLineRing } from './ring.ts'

/** One log line as `kith logs --json` prints it: the logger's own JSON. */
export type LogRecord = { readonly [field: string]: unknown }

/** Where the node's log lines go: memory for `kith logs`, the file, and whoever follows. */
export interface LogStore {
  /** Takes one line of JSON. The destination of the node's logger. */
  write(line: string): void
  recent(count: number): LogRecord[]
  /** Each new record; the listener must not throw. Returns the way to stop. */
  follow(listener: (record: LogRecord) => void): () => void
  close(): void
}

const RING_LINES = 2_000
const RING_BYTES = 2_097_152

export function createLogStore(file?: LogFile): LogStore {
  const ring = createLineRing(RING_LINES, RING_BYTES)
  const followers = new Set<(record: LogRecord) => void>()
  return {
    write(line) {
      ring.push(line)
      file?.write(line)
      if (followers.size === 0) return
      const record = parseRecord(line)
      for (const follower of followers) follower(record)
    },
    recent: (count) => ring.last(count).map(parseRecord),
    follow(listener) {
      followers.add(listener)
      return () => followers.delete(listener)
    },
    close() {
      followers.clear()
      file?.close()
    },
  }
}

/** The newest `count`, oldest first. */
export function lastOf<T>(records: readonly T[], count: number): readonly T[] {
  return count === 0 ? [] : records.slice(-count)
}

/** @returns `{msg}` for a line that is not JSON. */
export function parseRecord(line: string): LogRecord {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null) return value as LogRecord
  } catch {
    // A line that is not JSON is still worth showing.
  }
  return { msg: line.trimEnd() }
}
