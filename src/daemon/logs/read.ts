import { open } from 'node:fs/promises'
import { type LogRecord, parseRecord } from './store.ts'

/** As much as the node itself keeps in memory. */
const MAX_BYTES = 2_097_152

/** The last records of a log file, oldest first; none when there is no file. */
export async function readLog(path: string): Promise<readonly LogRecord[]> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return []
  try {
    const { size } = await file.stat()
    const from = Math.max(0, size - MAX_BYTES)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, MAX_BYTES)), 0, undefined, from)
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n')
    // The first line may have lost its beginning.
    return lines.slice(from === 0 ? 0 : 1).flatMap((line) => (line === '' ? [] : [parseRecord(line)]))
  } finally {
    await file.close()
  }
}
