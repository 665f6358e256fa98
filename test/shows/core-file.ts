import { createReadStream } from 'node:fs'
import type { Needles } from './secrets.ts'

const CHUNK = 8 * 1024 * 1024

/** The names of the needles that stand anywhere in a file, sorted. */
export async function searchFile(path: string, needles: Needles): Promise<string[]> {
  const overlap = Math.max(...Object.values(needles).map((needle) => needle.length)) - 1
  const found = new Set<string>()
  let tail = Buffer.alloc(0)
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK })) {
    const bytes = Buffer.concat([tail, chunk as Buffer])
    for (const [name, needle] of Object.entries(needles)) if (bytes.includes(Buffer.from(needle))) found.add(name)
    tail = bytes.subarray(-overlap)
  }
  return [...found].sort()
}
