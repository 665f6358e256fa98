import { Buffer } from 'node:buffer'
import { constants } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import type { FileFacts } from './conditions.ts'

/** A file that was found; the caller closes it. */
export interface FoundFile extends FileFacts {
  readonly kind: 'file'
  /** For its type. */
  readonly name: string
  /** Reads at a place of the file; fewer bytes only where it was cut off meanwhile. */
  read(target: Buffer, position: number): Promise<number>
  close(): Promise<void>
}

export type Found = FoundFile | { readonly kind: 'directory' } | { readonly kind: 'missing' } | { readonly kind: 'forbidden' }

/** Where the pages of a site come from. `path` begins with a slash and has neither "." nor ".." in it. */
export interface Pages {
  find(path: Buffer): Promise<Found>
}

const INDEX = 'index.html'
const SLASH = 0x2f

/** The files of a folder. What lies outside of it is not served, also not through a symbolic link in it. */
export function folderPages(folder: string): Pages {
  return {
    async find(path) {
      try {
        const wanted = path.at(-1) === SLASH ? Buffer.concat([path, Buffer.from(INDEX)]) : path
        const found = await lookUp(folder, wanted)
        if (found.kind !== 'missing' || wanted === path) return found.kind === 'directory' && wanted !== path ? { kind: 'forbidden' } : found
        // A folder without an index may not be listed.
        const held = await lookUp(folder, path.subarray(0, -1))
        return held.kind === 'directory' ? { kind: 'forbidden' } : await dropped(held)
      } catch (error) {
        return { kind: (error as { code?: string }).code === 'EACCES' ? 'forbidden' : 'missing' }
      }
    },
  }
}

async function dropped(found: Found): Promise<Found> {
  if (found.kind === 'file') await found.close()
  return found.kind === 'forbidden' ? found : { kind: 'missing' }
}

async function lookUp(folder: string, path: Buffer): Promise<Found> {
  const root = Buffer.from(await realpath(folder))
  let real: Buffer
  try {
    real = await realpath(Buffer.concat([root, path]), 'buffer')
  } catch (error) {
    const { code } = error as { code?: string }
    return { kind: code === 'EACCES' || code === 'ELOOP' ? 'forbidden' : 'missing' }
  }
  const prefix = root.at(-1) === SLASH ? root : Buffer.concat([root, Buffer.of(SLASH)])
  if (!real.equals(root) && !real.subarray(0, prefix.length).equals(prefix)) return { kind: 'forbidden' }
  const facts = await stat(real)
  if (facts.isDirectory()) return { kind: 'directory' }
  if (!facts.isFile()) return { kind: 'missing' }
  // Whatever took its place meanwhile is not followed, and a pipe does not hold the process.
  const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  return await fileOf(handle, path.toString('latin1'))
}

async function fileOf(handle: FileHandle, name: string): Promise<Found> {
  const facts = await handle.stat()
  if (!facts.isFile()) {
    await handle.close()
    return { kind: 'missing' }
  }
  return {
    kind: 'file',
    name,
    size: facts.size,
    modified: Math.floor(facts.mtimeMs / 1_000),
    read: async (target, position) => (await handle.read(target, 0, target.length, position)).bytesRead,
    close: () => handle.close(),
  }
}

/** A site of one page, for who gave no folder. `modified` is in ms. */
export function singlePage(html: string, modified: number): Pages {
  const bytes = Buffer.from(html)
  return {
    async find(path) {
      const text = path.toString('latin1')
      if (text !== '/' && text !== `/${INDEX}`) return { kind: 'missing' }
      return {
        kind: 'file',
        name: INDEX,
        size: bytes.length,
        modified: Math.floor(modified / 1_000),
        read: async (target, position) => bytes.copy(target, 0, position),
        close: async () => {},
      }
    },
  }
}
