import type { Identity } from 'age-encryption'
import { concat, parseUtf8, toHex, utf8 } from '../core/bytes.ts'
import { createSha256, type Sha256 } from '../core/crypto/hash.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { KithError } from '../core/errors.ts'
import type { ContainerRecipients } from './container-header.ts'
import { CHUNK_BYTES, openStream, SealingStream, type Sink, type Source } from './container-stream.ts'
import { BLOCK_BYTES, entryHead, padding, readTar, type TarReading } from './container-tar.ts'

/**
 * # A backup: an age file with a tar archive in it
 *
 * ```text
 * age header and stream   container-header.ts, container-stream.ts          age -d -i KEY FILE | tar t        shows what is in it
 *   kith-backup.json      {"format":1, ...}        what this is, whose, when, how often before, what is to come
 *   NAME ...              the files
 *   kith-manifest.json    {"format":1, "files":[{name, size, sha256}], "digest", "seal"}
 *   zeros                 to the end of the last chunk
 *
 * digest = h(n)    h(0) = H("icn/backup/v1", header)    h(i) = H("icn/backup/v1", h(i-1) || u32 length of name || name || u64 size || SHA-256 of content)
 * ```
 *
 * age proves that nothing changed since somebody sealed it, not who: everybody who knows the recipients can seal. So the maker signs the digest, which binds the header
 * and every file in order, and the signature with the papers that prove the signer is the seal. This room carries it and knows nothing of it.
 */
export const CONTAINER_FORMAT = 1
export const CONTAINER_LABEL = 'icn/backup/v1'
const HEADER_NAME = 'kith-backup.json'
const MANIFEST_NAME = 'kith-manifest.json'
/** A hundred thousand names of ordinary length. */
export const MAX_FILES = 100_000
const MAX_HEADER_BYTES: number = 16 << 20
const MAX_MANIFEST_BYTES: number = 32 << 20

export interface ContainerFile {
  readonly name: string
  readonly size: number
  /** Seconds since the epoch. */
  readonly mtime: number
  /** Exactly `size` bytes, in pieces of any size. */
  content(): AsyncIterable<Uint8Array>
}

export interface FileRecord {
  readonly name: string
  readonly size: number
  /** 64 hexadecimal digits. */
  readonly sha256: string
}

/** Plain JSON, as the caller of this room means it. */
export type Facts = Readonly<Record<string, unknown>>

export interface WriteContainerOptions extends ContainerRecipients {
  readonly sink: Sink
  readonly header: Facts
  readonly files: AsyncIterable<ContainerFile>
  readonly mtime: number
  /** Signs what was written. */
  seal(digest: Uint8Array): Promise<Facts>
  /** Plaintext of files so far. */
  progress?(bytes: number): void
  readonly signal?: AbortSignal
}

export interface WrittenContainer {
  readonly files: readonly FileRecord[]
  /** Of all files. */
  readonly content: number
  /** Of the container. */
  readonly bytes: number
}

/**
 * Writes a container to a sink.
 * @throws KithError `BACKUP_UNSAFE` for a name that no backup carries, `FILE_CHANGED` when content is not as long as was said; the signal's reason; what the sink throws.
 */
export async function writeContainer(options: WriteContainerOptions): Promise<WrittenContainer> {
  const stream = await SealingStream.create(options, options.sink)
  try {
    const header = utf8(`${JSON.stringify({ format: CONTAINER_FORMAT, ...options.header })}\n`)
    await writeEntry(stream, HEADER_NAME, header, options.mtime)
    const chain = new DigestChain(header)
    const files: FileRecord[] = []
    let content = 0
    for await (const file of options.files) {
      if (files.length === MAX_FILES) throw new KithError('BACKUP_INVALID', `a backup has at most ${MAX_FILES} files`, { next: 'take files out of the inbox' })
      const done = content
      const record = await writeFile(stream, file, options.signal, (bytes) => options.progress?.(done + bytes))
      content += file.size
      chain.add(record)
      files.push(record)
    }
    const seal = await options.seal(chain.digest)
    const manifest = { format: CONTAINER_FORMAT, files, content, digest: toHex(chain.digest), seal }
    await writeEntry(stream, MANIFEST_NAME, utf8(`${JSON.stringify(manifest)}\n`), options.mtime)
    const ended = stream.length + 2 * BLOCK_BYTES
    await stream.write(Buffer.alloc(2 * BLOCK_BYTES + ((CHUNK_BYTES - (ended % CHUNK_BYTES)) % CHUNK_BYTES)))
    await stream.close()
    return { files, content, bytes: stream.written }
  } catch (error) {
    stream.destroy()
    throw error
  }
}

async function writeEntry(stream: SealingStream, name: string, content: Uint8Array, mtime: number): Promise<void> {
  await stream.write(entryHead({ name, size: content.length, mtime }))
  await stream.write(content)
  await stream.write(Buffer.alloc(padding(content.length)))
}

async function writeFile(stream: SealingStream, file: ContainerFile, signal: AbortSignal | undefined, progress: (bytes: number) => void): Promise<FileRecord> {
  await stream.write(entryHead(file))
  const state = createSha256()
  let size = 0
  for await (const piece of file.content()) {
    signal?.throwIfAborted()
    size += piece.length
    if (size > file.size) break
    state.update(piece)
    await stream.write(piece)
    progress(size)
  }
  if (size !== file.size) {
    throw new KithError('FILE_CHANGED', `${file.name} changed while it was being read`, { details: { name: file.name }, next: 'run the same command again' })
  }
  await stream.write(Buffer.alloc(padding(size)))
  return { name: file.name, size, sha256: toHex(state.digest()) }
}

/** A file of a container being read. */
export interface ReadingFile {
  readonly name: string
  readonly size: number
  readonly mtime: number
  /** Pieces that are only valid until the next is asked for. To be read to its end. */
  content(): AsyncGenerator<Uint8Array>
}

export interface ReadContainerOptions {
  readonly source: Source
  readonly identities: readonly Identity[]
  /** The header, before any file. */
  onHeader(header: Facts): Promise<void>
  /** Called for each file, in order. */
  onFile(file: ReadingFile): Promise<void>
  readonly signal?: AbortSignal
}

export interface ReadContainer {
  readonly header: Facts
  readonly files: readonly FileRecord[]
  readonly content: number
  /** What the seal stands for. */
  readonly digest: Uint8Array
  readonly seal: Facts
}

/**
 * Reads a container to its very end. Nothing that was handed out counts before this resolves.
 * @throws KithError `BACKUP_INVALID`, `BACKUP_KEY_WRONG`, `BACKUP_DAMAGED`, `BACKUP_TRUNCATED`, `BACKUP_TRAILING`, `BACKUP_UNSUPPORTED`, `BACKUP_UNSAFE`; the signal's reason.
 */
export async function readContainer(options: ReadContainerOptions): Promise<ReadContainer> {
  const { signal } = options
  let header: Facts | undefined
  let manifest: { readonly facts: Facts; readonly digest: Uint8Array } | undefined
  let chain: DigestChain | undefined
  const files: FileRecord[] = []
  let content = 0
  for await (const entry of readTar(openStream(options))) {
    signal?.throwIfAborted()
    if (manifest !== undefined) throw invalid('a file behind its manifest')
    if (chain === undefined) {
      if (entry.name !== HEADER_NAME) throw invalid('no header')
      const bytes = await whole(entry, MAX_HEADER_BYTES)
      header = facts(bytes)
      chain = new DigestChain(bytes)
      await options.onHeader(header)
    } else if (entry.name === MANIFEST_NAME) {
      manifest = { facts: facts(await whole(entry, MAX_MANIFEST_BYTES)), digest: chain.digest }
    } else {
      if (files.length === MAX_FILES) throw invalid(`more than ${MAX_FILES} files`)
      const record = await readFile(entry, options)
      chain.add(record)
      files.push(record)
      content += record.size
    }
  }
  if (header === undefined || manifest === undefined) throw invalid('no manifest')
  return { header, files, content, digest: manifest.digest, seal: checkManifest(manifest.facts, files, content, manifest.digest) }
}

async function readFile(entry: TarReading, { onFile, signal }: ReadContainerOptions): Promise<FileRecord> {
  const state = createSha256()
  await onFile({ name: entry.name, size: entry.size, mtime: entry.mtime, content: () => hashed(entry, state, signal) })
  return { name: entry.name, size: entry.size, sha256: toHex(state.digest()) }
}

async function* hashed(entry: TarReading, state: Sha256, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  for await (const piece of entry.content()) {
    signal?.throwIfAborted()
    state.update(piece)
    yield piece
  }
}

function checkManifest(manifest: Facts, files: readonly FileRecord[], content: number, digest: Uint8Array): Facts {
  const listed = manifest.files
  const same =
    Array.isArray(listed) &&
    listed.length === files.length &&
    files.every(({ name, size, sha256: sum }, at) => {
      const row = (listed[at] ?? {}) as Partial<FileRecord>
      return row.name === name && row.size === size && row.sha256 === sum
    })
  if (!same || manifest.content !== content || manifest.digest !== toHex(digest)) throw invalid('a manifest that does not fit its files')
  if (typeof manifest.seal !== 'object' || manifest.seal === null) throw invalid('no seal')
  return manifest.seal as Facts
}

async function whole(entry: TarReading, limit: number): Promise<Uint8Array> {
  if (entry.size > limit) throw invalid(`a ${entry.name} of ${entry.size} bytes`)
  const bytes = Buffer.alloc(entry.size)
  let at = 0
  for await (const piece of entry.content()) at += piece.copy(bytes, at)
  return bytes
}

/** @throws KithError `BACKUP_UNSUPPORTED` for a later format, before anything else in it is looked at. */
function facts(bytes: Uint8Array): Facts {
  let value: unknown
  try {
    value = JSON.parse(parseUtf8(bytes) ?? '')
  } catch (cause) {
    throw invalid('a header or manifest that is not JSON', cause)
  }
  const { format } = (value ?? {}) as { format?: unknown }
  if (typeof value !== 'object' || value === null || !Number.isInteger(format)) throw invalid('a header or manifest without its format')
  if (format !== CONTAINER_FORMAT) {
    throw new KithError('BACKUP_UNSUPPORTED', `the backup has format ${String(format)}; this version reads format ${CONTAINER_FORMAT}`, {
      details: { format: format as number, known: CONTAINER_FORMAT },
      next: 'run the version of kith that wrote it, or a newer one',
    })
  }
  return value as Facts
}

class DigestChain {
  #state: Uint8Array

  constructor(header: Uint8Array) {
    this.#state = hashLabeled(CONTAINER_LABEL, header)
  }

  get digest(): Uint8Array {
    return this.#state
  }

  add({ name, size, sha256: sum }: FileRecord): void {
    const fields = Buffer.alloc(12)
    const bytes = utf8(name)
    fields.writeUInt32BE(bytes.length)
    fields.writeBigUInt64BE(BigInt(size), 4)
    this.#state = hashLabeled(CONTAINER_LABEL, concat(this.#state, fields.subarray(0, 4), bytes, fields.subarray(4), Buffer.from(sum, 'hex')))
  }
}

function invalid(reason: string, cause?: unknown): KithError {
  return new KithError('BACKUP_INVALID', `the backup has ${reason}`, { details: { reason }, next: 'use a file that kith backup wrote', cause })
}
