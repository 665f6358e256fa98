import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { Caller } from '../../access/types.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { OpenHandles } from './open-handles.ts'
import { type Folder, NotAllowed, NotThere, Places } from './places.ts'
import {
  type Attributes,
  attributesPacket,
  dataPacket,
  Fields,
  type FileStats,
  handlePacket,
  MAX_PACKET,
  MalformedPacket,
  namesPacket,
  OPEN,
  REQUEST,
  STATUS,
  statusPacket,
  versionPacket,
} from './wire.ts'

export interface SftpOptions {
  /** What this caller may see; asked for each request. */
  readonly folders: (caller: Caller) => readonly Folder[]
  /** Shared by all sessions of a door. */
  readonly handles: OpenHandles
  readonly logger: Logger
}

const MAX_HANDLES = 64
/** As much as OpenSSH ever asks for. */
const MAX_READ = 261_120
/** Entries in one answer to a listing. */
const ENTRIES = 64
/** Bits of permissions that clients may set: no set-user-id, no sticky bit. */
const MODE = 0o777
const ROOT = '/'

type Listing = Awaited<ReturnType<Places['list']>>

type Handle =
  | { readonly kind: 'file'; readonly file: FileHandle; readonly append: boolean; readonly folder: Folder }
  | { readonly kind: 'directory'; readonly listing: Listing; readonly folder: Folder }
  | { readonly kind: 'root'; done: boolean }

/**
 * The server's side of SFTP 3 over one channel. Requests are answered one after the other, and no more is read while one is being answered: what a client can
 * make wait here is one packet. @returns when the client is done, or `signal` aborts.
 */
export async function serveSftp(channel: Duplex, caller: Caller, signal: AbortSignal, { folders, handles, logger }: SftpOptions): Promise<void> {
  if (!handles.enter(caller.id)) {
    logger.info('SFTP session refused', { caller: caller.id, reason: 'too many sessions' })
    channel.destroy()
    return
  }
  const room: Room = { take: () => handles.take(caller.id), give: () => handles.give(caller.id) }
  const session = new SftpSession(new Places(() => folders(caller)), room)
  const stop = (): void => void channel.destroy()
  signal.addEventListener('abort', stop, { once: true })
  let early: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of channel as AsyncIterable<Buffer>) {
      early = early.length === 0 ? chunk : Buffer.concat([early, chunk])
      while (early.length >= 4) {
        const length = early.readUInt32BE(0)
        if (length < 5 || length > MAX_PACKET) throw new MalformedPacket()
        if (early.length < 4 + length) break
        const packet = early.subarray(4, 4 + length)
        early = early.subarray(4 + length)
        await send(channel, await session.answer(packet), signal)
        if (signal.aborted) return
      }
    }
  } catch (error) {
    if (!signal.aborted) logger.debug('SFTP session ended', { error: error instanceof Error ? error.message : 'unknown' })
  } finally {
    signal.removeEventListener('abort', stop)
    await session.close()
    handles.leave(caller.id)
  }
}

function send(channel: Duplex, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  if (signal.aborted || channel.write(bytes)) return Promise.resolve()
  return new Promise((resolve) => {
    const go = (): void => {
      signal.removeEventListener('abort', go)
      channel.off('drain', go)
      resolve()
    }
    channel.once('drain', go)
    signal.addEventListener('abort', go, { once: true })
  })
}

/** Of what may stay open. */
export interface Room {
  take(): boolean
  give(): void
}

/** More is open than may be. */
class TooMany extends Error {}

/** Answers packets, without its length in front. */
export class SftpSession {
  readonly #places: Places
  readonly #room: Room
  readonly #handles: Map<string, Handle> = new Map()
  #started = false
  #last = 0

  constructor(places: Places, room: Room) {
    this.#places = places
    this.#room = room
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await this.#release(handle).catch(() => {})
    this.#handles.clear()
  }

  /** @throws MalformedPacket for what is no packet at all; everything else is answered by a status. */
  async answer(packet: Buffer): Promise<Uint8Array> {
    const type = packet[0] ?? 0
    const fields = new Fields(packet, 1)
    if (!this.#started) {
      if (type !== REQUEST.init || fields.u32() < 3) throw new MalformedPacket()
      this.#started = true
      return versionPacket()
    }
    const id = fields.u32()
    try {
      return await this.#perform(type, id, fields)
    } catch (error) {
      if (error instanceof MalformedPacket) return statusPacket(id, STATUS.badMessage)
      if (error instanceof TooMany) return statusPacket(id, STATUS.failure, 'Too many open files')
      return statusPacket(id, statusOf(error))
    }
  }

  async #perform(type: number, id: number, fields: Fields): Promise<Uint8Array> {
    const places = this.#places
    switch (type) {
      case REQUEST.open:
        return handlePacket(id, await this.#open(fields.text(), fields.u32(), fields.attributes()))
      case REQUEST.close:
        return await this.#close(id, fields.bytes().toString('latin1'))
      case REQUEST.read:
        return await this.#read(id, this.#file(fields), fields.u64(), fields.u32())
      case REQUEST.write:
        return await this.#write(id, this.#file(fields, true), fields.u64(), fields.bytes())
      case REQUEST.lstat:
      case REQUEST.stat:
        return attributesPacket(id, await places.stats(fields.text()))
      case REQUEST.fstat:
        return attributesPacket(id, await this.#file(fields).file.stat())
      case REQUEST.setstat:
        return await this.#setstat(id, fields.text(), fields.attributes())
      case REQUEST.fsetstat:
        return await change(this.#file(fields, true).file, fields.attributes()).then(() => statusPacket(id, STATUS.ok))
      case REQUEST.opendir:
        return handlePacket(id, await this.#opendir(fields.text()))
      case REQUEST.readdir:
        return await this.#readdir(id, fields.bytes().toString('latin1'))
      case REQUEST.realpath: {
        const name = `/${places.components(fields.text()).join('/')}`
        return namesPacket(id, [{ name, longname: name }])
      }
      case REQUEST.remove:
        await places.remove(fields.text())
        break
      case REQUEST.mkdir:
        await places.mkdir(fields.text(), (fields.attributes().permissions ?? MODE) & MODE)
        break
      case REQUEST.rmdir:
        await places.rmdir(fields.text())
        break
      case REQUEST.rename:
        await places.rename(fields.text(), fields.text(), false)
        break
      case REQUEST.extended:
        if (fields.text() !== 'posix-rename@openssh.com') return statusPacket(id, STATUS.unsupported)
        await places.rename(fields.text(), fields.text(), true)
        break
      case REQUEST.readlink:
      case REQUEST.symlink:
        return statusPacket(id, STATUS.permissionDenied)
      default:
        return statusPacket(id, STATUS.unsupported)
    }
    return statusPacket(id, STATUS.ok)
  }

  async #open(path: string, flags: number, attributes: Attributes): Promise<string> {
    const append = (flags & OPEN.append) !== 0
    return await this.#opened(async () => {
      const folder = this.#folder(path)
      return { kind: 'file', file: await this.#places.open(path, openFlags(flags), (attributes.permissions ?? 0o666) & MODE), append, folder }
    })
  }

  async #opendir(path: string): Promise<string> {
    return await this.#opened(async () => {
      if (this.#places.isRoot(path)) return { kind: 'root', done: false }
      return { kind: 'directory', folder: this.#folder(path), listing: await this.#places.list(path) }
    })
  }

  #folder(path: string): Folder {
    const folder = this.#places.folderOf(path)
    if (folder === undefined) throw new NotThere()
    return folder
  }

  /** Room is taken before anything is opened, so that requests of many sessions that come together are counted together. */
  async #opened(open: () => Promise<Handle>): Promise<string> {
    if (this.#handles.size >= MAX_HANDLES || !this.#room.take()) throw new TooMany()
    try {
      return this.#keep(await open())
    } catch (error) {
      this.#room.give()
      throw error
    }
  }

  async #close(id: number, name: string): Promise<Uint8Array> {
    const handle = this.#handles.get(name)
    if (handle === undefined) return statusPacket(id, STATUS.failure)
    this.#handles.delete(name)
    await this.#release(handle)
    return statusPacket(id, STATUS.ok)
  }

  async #read(id: number, { file }: Handle & { kind: 'file' }, position: number, length: number): Promise<Uint8Array> {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(Math.min(length, MAX_READ)), 0, undefined, position)
    return bytesRead === 0 ? statusPacket(id, STATUS.eof) : dataPacket(id, buffer.subarray(0, bytesRead))
  }

  async #write(id: number, { file, append }: Handle & { kind: 'file' }, position: number, data: Buffer): Promise<Uint8Array> {
    let written = 0
    while (written < data.length) {
      // A file opened for appending is written at its end, wherever the client believes that to be.
      const { bytesWritten } = await file.write(data, written, data.length - written, append ? null : position + written)
      written += bytesWritten
    }
    return statusPacket(id, STATUS.ok)
  }

  async #setstat(id: number, path: string, attributes: Attributes): Promise<Uint8Array> {
    const file = await this.#places.openAny(path, attributes.size !== undefined)
    try {
      await change(file, attributes)
    } finally {
      await file.close()
    }
    return statusPacket(id, STATUS.ok)
  }

  async #readdir(id: number, name: string): Promise<Uint8Array> {
    const handle = this.#handles.get(name)
    if (handle?.kind === 'root') {
      if (handle.done) return statusPacket(id, STATUS.eof)
      handle.done = true
      const rows = await Promise.all(
        this.#places.folders.map(async (folder) => ({ name: folder.name, stats: await this.#places.stats(`${ROOT}${folder.name}`).catch(() => undefined) })),
      )
      return namesPacket(
        id,
        rows.flatMap(({ name: entry, stats }) => (stats === undefined ? [] : [{ name: entry, longname: longname(entry, stats), stats }])),
      )
    }
    if (handle?.kind !== 'directory') return statusPacket(id, STATUS.failure)
    if (!this.#places.holds(handle.folder, false)) throw new NotAllowed()
    const rows: { name: string; longname: string; stats: FileStats }[] = []
    while (rows.length < ENTRIES) {
      const entry = await handle.listing.entries.read()
      if (entry === null) break
      // Gone since, or not to be looked at.
      const stats = await handle.listing.statsOf(entry.name).catch(() => undefined)
      if (stats !== undefined) rows.push({ name: entry.name, longname: longname(entry.name, stats), stats })
    }
    return rows.length === 0 ? statusPacket(id, STATUS.eof) : namesPacket(id, rows)
  }

  /** `changes`: also what can be done to a file that was opened for reading, such as setting its permissions. */
  #file(fields: Fields, changes = false): Handle & { kind: 'file' } {
    const handle = this.#handles.get(fields.bytes().toString('latin1'))
    if (handle?.kind !== 'file') throw new NotThere()
    if (!this.#places.holds(handle.folder, changes)) throw new NotAllowed()
    return handle
  }

  async #release(handle: Handle): Promise<void> {
    this.#room.give()
    await release(handle)
  }

  #keep(handle: Handle): string {
    this.#last += 1
    const name = String(this.#last)
    this.#handles.set(name, handle)
    return name
  }
}

async function release(handle: Handle): Promise<void> {
  if (handle.kind === 'file') await handle.file.close()
  else if (handle.kind === 'directory') await handle.listing.close()
}

/** @throws NotAllowed for another owner: files belong to whoever runs the node. */
async function change(file: FileHandle, { size, permissions, atime, mtime, owner }: Attributes): Promise<void> {
  if (owner === true) throw new NotAllowed()
  if (size !== undefined) await file.truncate(size)
  if (permissions !== undefined) await file.chmod(permissions & MODE)
  if (atime !== undefined && mtime !== undefined) await file.utimes(atime, mtime)
}

function openFlags(flags: number): number {
  const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREAT, O_TRUNC, O_EXCL } = constants
  const reads = (flags & OPEN.read) !== 0
  const writes = (flags & (OPEN.write | OPEN.append)) !== 0
  if (!reads && !writes) throw new MalformedPacket()
  const create = (flags & OPEN.create) === 0 ? 0 : O_CREAT | ((flags & OPEN.truncate) === 0 ? 0 : O_TRUNC) | ((flags & OPEN.exclusive) === 0 ? 0 : O_EXCL)
  const access = writes ? (reads ? O_RDWR : O_WRONLY) : O_RDONLY
  return access | create | ((flags & OPEN.append) === 0 ? 0 : O_APPEND)
}

/** Codes of the system that a client is told apart; whatever is a link on the way looks like something it may not enter. */
const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  ENOENT: STATUS.noSuchFile,
  ENOTDIR: STATUS.noSuchFile,
  EACCES: STATUS.permissionDenied,
  EPERM: STATUS.permissionDenied,
  EROFS: STATUS.permissionDenied,
  ELOOP: STATUS.permissionDenied,
}

function statusOf(error: unknown): number {
  if (error instanceof NotThere) return STATUS.noSuchFile
  if (error instanceof NotAllowed) return STATUS.permissionDenied
  const { code } = error as NodeJS.ErrnoException
  return (code === undefined ? undefined : STATUS_BY_CODE[code]) ?? STATUS.failure
}

/** As `ls -l` shows it, without owners. */
function longname(name: string, { mode, size, mtimeMs }: FileStats): string {
  const kind = (mode & constants.S_IFMT) === constants.S_IFDIR ? 'd' : (mode & constants.S_IFMT) === constants.S_IFLNK ? 'l' : '-'
  const bits = [6, 3, 0].map((shift) => ['r', 'w', 'x'].map((letter, at) => (((mode >> shift) & (4 >> at)) === 0 ? '-' : letter)).join('')).join('')
  return `${kind}${bits} 1 kith kith ${String(size).padStart(12)} ${new Date(mtimeMs).toISOString().slice(0, 10)} ${name}`
}
