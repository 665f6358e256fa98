import { constants, type Dir } from 'node:fs'
import { type FileHandle, link, lstat, mkdir, open, opendir, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { KithError } from '../../core/errors.ts'
import type { FileStats } from './wire.ts'

/**
 * # Folders without a way out
 *
 * A client sees `/NAME` for each folder it may see, and nothing else. A path is taken apart into its components; each directory on the way is opened by its one
 * name in the directory before, never through a symbolic link:
 *
 * ```text
 * /photos/2024/a.jpg   ->  fd(photos)  ->  openat(fd, "2024", O_NOFOLLOW|O_DIRECTORY)  ->  openat(fd, "a.jpg", O_NOFOLLOW)
 * ```
 *
 * `openat` is had through `/proc/self/fd/N/NAME`, which Linux resolves from the open directory itself. So a directory that is exchanged for a link in the middle
 * of an operation changes nothing: the kernel refuses the link, or goes on in the directory that was opened. `..` is resolved in the text and ends at `/`.
 * Links are listed as what they are and never followed, read, or made. What is no file and no directory (devices, pipes, sockets) is not opened.
 * Guaranteed: no operation reaches anything outside the folder, except a file of which somebody else made a hard link inside it.
 */
export interface Folder {
  readonly name: string
  /** Whole path on this machine; opened anew for each operation, so that it may be exchanged by its owner. */
  readonly path: string
  readonly writable: boolean
}

/** A directory that is open, and one name in it. */
export interface Place {
  /** Of the entry; for a folder itself of the folder. */
  readonly path: string
  readonly folder: Folder
  /** False for a folder itself. */
  readonly entry: boolean
  close(): Promise<void>
}

const MAX_DEPTH = 64
const MAX_COMPONENT_BYTES = 255
const MAX_PATH = 4_096
const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants

export class NotThere extends Error {}
export class NotAllowed extends Error {}

/** The components of a path as clients write it; `home` is where relative ones begin. @throws NotThere for what can be no name. */
export function componentsOf(text: string, home: readonly string[] = []): readonly string[] {
  if (text.length > MAX_PATH || text.includes('\0')) throw new NotThere()
  const parts: string[] = text.startsWith('/') ? [] : [...home]
  for (const part of text.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  if (parts.length > MAX_DEPTH || parts.some((part) => Buffer.byteLength(part) > MAX_COMPONENT_BYTES)) throw new NotThere()
  return parts
}

export class Places {
  readonly #folders: () => readonly Folder[]
  readonly home: readonly string[]

  /** `folders` is asked for each operation: what changes counts at once. */
  constructor(folders: () => readonly Folder[]) {
    this.#folders = folders
    const [only, ...more] = folders()
    // Whoever sees one folder begins in it.
    this.home = only !== undefined && more.length === 0 ? [only.name] : []
  }

  get folders(): readonly Folder[] {
    return this.#folders()
  }

  /** The folder that a path leads into; undefined for `/`, and for what is not there. */
  folderOf(text: string): Folder | undefined {
    const [name] = this.components(text)
    return this.#folders().find((one) => one.name === name)
  }

  /** Whether what was opened in a folder may still be read, or changed. */
  holds({ name, path }: Folder, changes: boolean): boolean {
    return this.#folders().some((one) => one.name === name && one.path === path && (one.writable || !changes))
  }

  components(text: string): readonly string[] {
    return componentsOf(text, this.home)
  }

  /** The place of a path other than `/`; to be closed. @throws NotThere, or what the system says of a directory on the way. */
  async place(text: string): Promise<Place> {
    const [name, ...rest] = this.components(text)
    const folder = this.#folders().find((one) => one.name === name)
    if (folder === undefined) throw new NotThere()
    let directory = await openFolder(folder)
    const last = rest.pop()
    try {
      for (const part of rest) {
        const next = await openDirectory(`${throughFd(directory)}/${part}`)
        await directory.close()
        directory = next
      }
    } catch (error) {
      await directory.close()
      throw error
    }
    const base = throughFd(directory)
    return { folder, entry: last !== undefined, path: last === undefined ? base : `${base}/${last}`, close: () => directory.close() }
  }

  isRoot(text: string): boolean {
    return this.components(text).length === 0
  }

  /** Never follows a link. */
  async stats(text: string): Promise<FileStats> {
    if (this.isRoot(text)) return ROOT_STATS
    return await this.#with(text, async ({ path, entry }) => (entry ? await lstat(path) : await stat(path)))
  }

  async open(text: string, flags: number, mode: number): Promise<FileHandle> {
    const writes = (flags & (constants.O_WRONLY | constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC)) !== 0
    return await this.#with(text, async (place) => {
      mustBeEntry(place)
      if (writes) mustWrite(place)
      // Truncated only when it turned out to be a file.
      const file = await open(place.path, (flags & ~constants.O_TRUNC) | O_NOFOLLOW | O_NONBLOCK, mode)
      try {
        if (!(await file.stat()).isFile()) throw new NotAllowed()
        if ((flags & constants.O_TRUNC) !== 0) await file.truncate(0)
        return file
      } catch (error) {
        await file.close()
        throw error
      }
    })
  }

  /** For changes of attributes: an open file or directory. */
  async openAny(text: string, write: boolean): Promise<FileHandle> {
    return await this.#with(text, async (place) => {
      mustBeEntry(place)
      mustWrite(place)
      const file = await open(place.path, (write ? constants.O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK)
      const found = await file.stat()
      if (found.isFile() || found.isDirectory()) return file
      await file.close()
      throw new NotAllowed()
    })
  }

  /** The directory stays the one that was opened, whatever happens to its name. */
  async list(text: string): Promise<{ readonly entries: Dir; statsOf(name: string): Promise<FileStats>; close(): Promise<void> }> {
    return await this.#with(text, async ({ path, entry }) => {
      const directory = entry ? await openDirectory(path) : await open(path, O_RDONLY | O_DIRECTORY)
      const base = throughFd(directory)
      try {
        const entries = await opendir(base)
        return {
          entries,
          statsOf: async (name) => await lstat(`${base}/${name}`),
          close: async () => {
            await entries.close()
            await directory.close()
          },
        }
      } catch (error) {
        await directory.close()
        throw error
      }
    })
  }

  async mkdir(text: string, mode: number): Promise<void> {
    await this.#change(text, ({ path }) => mkdir(path, { mode }).then(() => {}))
  }

  async rmdir(text: string): Promise<void> {
    await this.#change(text, ({ path }) => rmdir(path))
  }

  /** Files and links; a link is removed, not what it names. */
  async remove(text: string): Promise<void> {
    await this.#change(text, ({ path }) => unlink(path))
  }

  /** `replace` false: fails when something is there already. */
  async rename(from: string, to: string, replace: boolean): Promise<void> {
    await this.#change(from, async (source) => {
      await this.#change(to, async (target) => {
        const moved = await lstat(source.path)
        if (moved.isSymbolicLink()) throw new NotAllowed()
        if (replace) return await rename(source.path, target.path)
        if (moved.isFile()) {
          // A hard link is refused where something has the name; asking first would leave a moment in between.
          await link(source.path, target.path)
          return await unlink(source.path)
        }
        if (await exists(target.path)) throw new Error('there is something already')
        await rename(source.path, target.path)
      })
    })
  }

  async #change(text: string, run: (place: Place) => Promise<void>): Promise<void> {
    await this.#with(text, async (place) => {
      mustBeEntry(place)
      mustWrite(place)
      await run(place)
    })
  }

  async #with<T>(text: string, run: (place: Place) => Promise<T>): Promise<T> {
    const place = await this.place(text)
    try {
      return await run(place)
    } finally {
      await place.close()
    }
  }
}

const ROOT_STATS: FileStats = { size: 0, mode: constants.S_IFDIR | 0o555, atimeMs: 0, mtimeMs: 0 }

function mustWrite({ folder }: Place): void {
  if (!folder.writable) throw new NotAllowed()
}

function mustBeEntry({ entry }: Place): void {
  if (!entry) throw new NotAllowed()
}

function throughFd(handle: FileHandle): string {
  return `/proc/self/fd/${handle.fd}`
}

async function openFolder({ path }: Folder): Promise<FileHandle> {
  return await open(path, O_RDONLY | O_DIRECTORY)
}

async function openDirectory(path: string): Promise<FileHandle> {
  return await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  )
}

/** @throws KithError `SFTP_FOLDER_INVALID` where folders cannot be kept closed, or this one is none. */
export async function checkFolder({ name, path }: Pick<Folder, 'name' | 'path'>): Promise<void> {
  if (process.platform !== 'linux') throw new KithError('SFTP_FOLDER_INVALID', 'Folders are shared by SFTP on Linux only.')
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory() !== true) throw new KithError('SFTP_FOLDER_INVALID', `The folder ${name} of ssh.sftp is not there: ${path}`)
}
