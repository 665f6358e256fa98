import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const MIB = 1_048_576
/** Between two looks at a growing file. */
const LOOK_MS = 5

/** A file of random bytes; gives its SHA-256. */
export async function writeRandom(path: string, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  const file = createWriteStream(path)
  for (let left = bytes; left > 0; left -= MIB) {
    const data = randomBytes(Math.min(MIB, left))
    hash.update(data)
    if (!file.write(data)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'close')
  return hash.digest('hex')
}

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Resolves as soon as a home holds so much of an unfinished file; bounded by `limitMs`. */
export async function untilPartial(home: string, bytes: number, limitMs: number): Promise<void> {
  const folder = join(home, 'inbox', '.partial')
  const until = performance.now() + limitMs
  while (performance.now() < until) {
    for (const name of await readdir(folder).catch(() => [])) {
      const { size } = await stat(join(folder, name)).catch(() => ({ size: 0 }))
      if (size >= bytes) return
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  throw new Error(`${bytes} bytes did not arrive within ${limitMs} ms`)
}
