import { parseUtf8, utf8 } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'

/**
 * # The archive inside a backup: POSIX ustar, with pax records where its fields are too small
 *
 * ```text
 * name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link name 100 | "ustar\0" "00" | ... | prefix 155 | zeros 12
 * content, filled up with zeros to a multiple of 512                              ... two blocks of zeros, and zeros to the end of the stream
 * ```
 *
 * Only regular files are written and read. The reader takes the one form that the writer makes, so nothing in a backup can be a link, a device, a directory with
 * rights of its own, a sparse file or a second file of one name, whatever another tar would make of it.
 */
export const BLOCK_BYTES = 512
const USTAR = Buffer.from('ustar\x0000', 'latin1')
const FILE = 0x30
const PAX = 0x78
/** The largest size that eleven octal digits hold. */
const MAX_OCTAL = 8 ** 11 - 1
const MAX_NAME_BYTES = 1_024
const MAX_PAX_BYTES = 4_096
const MAX_PARTS = 16
const MAX_PART_BYTES = 255

export interface TarEntry {
  /** With `/` between its parts, relative, as it is. */
  readonly name: string
  readonly size: number
  /** Seconds since the epoch. */
  readonly mtime: number
}

/**
 * Refuses what would lead out of a directory, or be another name than it seems.
 * @throws KithError `BACKUP_UNSAFE`.
 */
export function checkEntryName(name: string): void {
  const parts = name.split('/')
  const bad =
    utf8(name).length > MAX_NAME_BYTES ||
    parts.length > MAX_PARTS ||
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
    /[\x00-\x1f\x7f\\]/.test(name) ||
    parts.some((part) => part === '' || part === '.' || part === '..' || utf8(part).length > MAX_PART_BYTES)
  if (bad) throw unsafe(name, 'it is not a plain relative path')
}

/** The blocks before an entry's content. @throws KithError `BACKUP_UNSAFE`. */
export function entryHead(entry: TarEntry): Buffer {
  checkEntryName(entry.name)
  const name = utf8(entry.name)
  const fits = name.length <= 100 && entry.size <= MAX_OCTAL && name.every((byte) => byte < 0x80)
  if (fits) return block(name, entry.size, entry.mtime, FILE)
  const records = Buffer.concat([record('path', entry.name), record('size', String(entry.size))])
  return Buffer.concat([
    block(utf8('pax'), records.length, entry.mtime, PAX),
    records,
    Buffer.alloc(padding(records.length)),
    block(utf8('long'), Math.min(entry.size, MAX_OCTAL), entry.mtime, FILE),
  ])
}

/** Zeros that fill content up to a whole block. */
export function padding(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES
}

function block(name: Uint8Array, size: number, mtime: number, type: number): Buffer {
  const head = Buffer.alloc(BLOCK_BYTES)
  head.set(name, 0)
  octal(head, 100, 8, 0o600)
  octal(head, 108, 8, 0)
  octal(head, 116, 8, 0)
  octal(head, 124, 12, size)
  octal(head, 136, 12, mtime)
  head[156] = type
  head.set(USTAR, 257)
  head.fill(0x20, 148, 156)
  const sum = head.reduce((total, byte) => total + byte, 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return head
}

function octal(head: Buffer, at: number, length: number, value: number): void {
  head.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
}

/** `length key=value\n`, where the length counts its own digits. */
function record(key: string, value: string): Buffer {
  const rest = utf8(` ${key}=${value}\n`)
  let length = rest.length + 1
  while (rest.length + String(length).length !== length) length = rest.length + String(length).length
  return Buffer.concat([utf8(String(length)), rest])
}

/** An entry being read: its content must be read to its end before the next one. */
export interface TarReading extends TarEntry {
  /** Pieces that are only valid until the next is asked for. */
  content(): AsyncGenerator<Buffer>
}

/**
 * Reads an archive from pieces of any size. Everything behind its end must be zeros.
 * @throws KithError `BACKUP_INVALID`, `BACKUP_UNSAFE`, and what the stream throws.
 */
export async function* readTar(stream: AsyncGenerator<Buffer>): AsyncGenerator<TarReading> {
  const input = new Input(stream)
  const seen = new Set<string>()
  try {
    for (;;) {
      let head = await input.block()
      if (isZero(head)) break
      let larger: { path: string; size: number } | undefined
      if (head[156] === PAX) {
        const { size } = parseBlock(head, PAX)
        if (size === 0 || size > MAX_PAX_BYTES) throw invalid('an extended header of this size')
        larger = parseRecords(await input.bytes(size + padding(size)), size)
        head = await input.block()
      }
      const plain = parseBlock(head, FILE)
      if (larger !== undefined && (plain.name !== 'long' || plain.size !== Math.min(larger.size, MAX_OCTAL)))
        throw invalid('an extended header that does not fit')
      const entry = larger === undefined ? plain : { name: larger.path, size: larger.size, mtime: plain.mtime }
      checkEntryName(entry.name)
      if (seen.has(entry.name)) throw unsafe(entry.name, 'it stands there twice')
      for (let cut = entry.name.lastIndexOf('/'); cut > 0; cut = entry.name.lastIndexOf('/', cut - 1)) {
        if (seen.has(entry.name.slice(0, cut))) throw unsafe(entry.name, 'it is below a file')
      }
      seen.add(entry.name)
      let left = entry.size
      yield {
        ...entry,
        async *content() {
          while (left > 0) {
            const piece = await input.some(left)
            left -= piece.length
            yield piece
          }
        },
      }
      if (left > 0) throw new TypeError('an entry is read to its end')
      if (!isZero(await input.bytes(padding(entry.size)))) throw invalid('something between its files')
    }
    for (let piece = await input.rest(); piece !== undefined; piece = await input.rest()) if (!isZero(piece)) throw invalid('something behind its last file')
  } finally {
    await stream.return(undefined)
  }
}

function parseBlock(head: Buffer, type: number): TarEntry {
  if (head[156] !== type) {
    if (head[156] !== undefined && head[156] >= 0x31 && head[156] <= 0x37) {
      throw unsafe(head.toString('utf8', 0, Math.max(0, head.indexOf(0))), 'it is a link, a directory or a device')
    }
    throw invalid('an entry of a kind that is never written')
  }
  const size = parseOctal(head, 124)
  const mtime = parseOctal(head, 136)
  const end = head.indexOf(0)
  const name = parseUtf8(head.subarray(0, Math.min(end < 0 ? 100 : end, 100)))
  if (size === undefined || mtime === undefined || name === undefined) throw invalid('a header that is not understood')
  // One form alone: everything else in the block, its checksum too, follows from these.
  if (!block(utf8(name), size, mtime, type).equals(head)) throw invalid('a header that is not written so')
  return { name, size, mtime }
}

function parseOctal(head: Buffer, at: number): number | undefined {
  const text = head.toString('latin1', at, at + 11)
  return /^[0-7]{11}$/.test(text) ? Number.parseInt(text, 8) : undefined
}

function parseRecords(bytes: Buffer, size: number): { path: string; size: number } {
  const text = parseUtf8(bytes.subarray(0, size))
  const [, path, length] = /^\d+ path=([^\n]+)\n\d+ size=(0|[1-9][0-9]{0,15})\n$/.exec(text ?? '') ?? []
  if (path === undefined || length === undefined || !Number.isSafeInteger(Number(length))) throw invalid('an extended header that is not written so')
  const again = Buffer.concat([record('path', path), record('size', length)])
  if (!again.equals(bytes.subarray(0, size)) || !isZero(bytes.subarray(size))) throw invalid('an extended header that is not written so')
  return { path, size: Number(length) }
}

/** Takes blocks and pieces out of a stream of buffers. */
class Input {
  readonly #stream: AsyncGenerator<Buffer>
  #piece: Buffer = Buffer.alloc(0)

  constructor(stream: AsyncGenerator<Buffer>) {
    this.#stream = stream
  }

  block(): Promise<Buffer> {
    return this.bytes(BLOCK_BYTES)
  }

  /** A copy of exactly so many bytes. */
  async bytes(length: number): Promise<Buffer> {
    const whole = Buffer.alloc(length)
    for (let at = 0; at < length; ) at += (await this.some(length - at)).copy(whole, at)
    return whole
  }

  /** A view of what is at hand, at most `limit` bytes. */
  async some(limit: number): Promise<Buffer> {
    while (this.#piece.length === 0) {
      const next = await this.#stream.next()
      if (next.done === true) throw invalid('no end')
      this.#piece = next.value
    }
    const taken = this.#piece.subarray(0, limit)
    this.#piece = this.#piece.subarray(taken.length)
    return taken
  }

  /** What is left, piece by piece. */
  async rest(): Promise<Buffer | undefined> {
    if (this.#piece.length > 0) return this.some(this.#piece.length)
    const next = await this.#stream.next()
    return next.done === true ? undefined : next.value
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}

function invalid(reason: string): KithError {
  return new KithError('BACKUP_INVALID', `the archive has ${reason}`, { details: { reason }, next: 'use a file that kith backup wrote' })
}

function unsafe(name: string, reason: string): KithError {
  return new KithError('BACKUP_UNSAFE', `the backup names ${JSON.stringify(name.slice(0, 200))}: ${reason}`, {
    details: { name: name.slice(0, 200), reason },
    next: 'do not use this file: kith does not write such names',
  })
}
