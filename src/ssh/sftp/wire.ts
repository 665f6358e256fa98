import { concat, parseUtf8, utf8 } from '../../core/bytes.ts'

/**
 * # SFTP version 3 (draft-ietf-secsh-filexfer-02)
 *
 * ```text
 * packet    uint32 length || byte type || uint32 id || ...         (INIT and VERSION carry a version instead of an id)
 * string    uint32 length || bytes
 * attrs     uint32 flags || [uint64 size] || [uint32 uid || uint32 gid] || [uint32 permissions] || [uint32 atime || uint32 mtime] || [extended]
 * ```
 */
export const REQUEST = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  extended: 200,
} as const
const RESPONSE = { version: 2, status: 101, handle: 102, data: 103, name: 104, attrs: 105 } as const
export const STATUS = { ok: 0, eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, badMessage: 5, unsupported: 8 } as const
export const OPEN = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 } as const

const ATTR = { size: 1, owner: 2, permissions: 4, times: 8, extended: 0x8000_0000 } as const
/** As OpenSSH has it: 256 KiB of data and some room. */
export const MAX_PACKET = 266_240
const WORDS: readonly string[] = ['', 'end of file', 'no such file', 'permission denied', 'failure', 'bad message', '', '', 'not supported']

export interface Attributes {
  readonly size?: number
  readonly permissions?: number
  readonly atime?: number
  readonly mtime?: number
  /** Somebody wants another owner: never done. */
  readonly owner?: boolean
}

/** Reads fields in order; everything outside the packet, or not of its type, throws. */
export class Fields {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  u32(): number {
    this.#need(4)
    this.#at += 4
    return this.#bytes.readUInt32BE(this.#at - 4)
  }

  /** Beyond 2^53 nothing has an end or a place here. */
  u64(): number {
    this.#need(8)
    this.#at += 8
    const value = this.#bytes.readBigUInt64BE(this.#at - 8)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedPacket()
    return Number(value)
  }

  bytes(): Buffer {
    const length = this.u32()
    this.#need(length)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  text(): string {
    const text = parseUtf8(this.bytes())
    if (text === undefined) throw new MalformedPacket()
    return text
  }

  attributes(): Attributes {
    const flags = this.u32()
    const size = (flags & ATTR.size) === 0 ? undefined : this.u64()
    const owner = (flags & ATTR.owner) !== 0
    if (owner) this.#skip(8)
    const permissions = (flags & ATTR.permissions) === 0 ? undefined : this.u32()
    const [atime, mtime] = (flags & ATTR.times) === 0 ? [] : [this.u32(), this.u32()]
    return {
      ...(size === undefined ? {} : { size }),
      ...(permissions === undefined ? {} : { permissions }),
      ...(atime === undefined || mtime === undefined ? {} : { atime, mtime }),
      ...(owner ? { owner } : {}),
    }
  }

  #skip(length: number): void {
    this.#need(length)
    this.#at += length
  }

  #need(length: number): void {
    if (this.#bytes.length - this.#at < length) throw new MalformedPacket()
  }
}

export class MalformedPacket extends Error {}

export function versionPacket(): Uint8Array {
  return packet(RESPONSE.version, u32(3), text('posix-rename@openssh.com'), text('1'))
}

export function statusPacket(id: number, status: number, words: string = WORDS[status] ?? ''): Uint8Array {
  return packet(RESPONSE.status, u32(id), u32(status), text(words), text(''))
}

export function handlePacket(id: number, handle: string): Uint8Array {
  return packet(RESPONSE.handle, u32(id), text(handle))
}

export function dataPacket(id: number, data: Uint8Array): Uint8Array {
  return packet(RESPONSE.data, u32(id), u32(data.length), data)
}

export function attributesPacket(id: number, stats: FileStats): Uint8Array {
  return packet(RESPONSE.attrs, u32(id), attributesOf(stats))
}

/** `longname` is what a listing shows. */
export function namesPacket(id: number, entries: readonly { readonly name: string; readonly longname: string; readonly stats?: FileStats }[]): Uint8Array {
  const rows = entries.flatMap(({ name, longname, stats }) => [text(name), text(longname), stats === undefined ? u32(0) : attributesOf(stats)])
  return packet(RESPONSE.name, u32(id), u32(entries.length), ...rows)
}

export interface FileStats {
  readonly size: number
  readonly mode: number
  readonly atimeMs: number
  readonly mtimeMs: number
}

/** Owners are left out: who has an account on this machine is nobody's business. */
function attributesOf({ size, mode, atimeMs, mtimeMs }: FileStats): Uint8Array {
  return concat(u32(ATTR.size | ATTR.permissions | ATTR.times), u64(size), u32(mode), seconds(atimeMs), seconds(mtimeMs))
}

function packet(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(Uint8Array.of(type), ...parts)
  return concat(u32(body.length), body)
}

function seconds(ms: number): Uint8Array {
  return u32(Math.min(0xffff_ffff, Math.max(0, Math.floor(ms / 1_000))))
}

function text(value: string): Uint8Array {
  const bytes = utf8(value)
  return concat(u32(bytes.length), bytes)
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value))
  return bytes
}
