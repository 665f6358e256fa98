import { equal } from '../../core/bytes.ts'
import { createSha256 } from '../../core/crypto/hash.ts'
import { KithError } from '../../core/errors.ts'
import { Lru } from '../../core/lru.ts'
import {
  type BlobRef,
  CHUNK_BYTES,
  chunkCount,
  chunkHash,
  chunkLength,
  chunksInPage,
  HASH_BYTES,
  hashAt,
  isBlobSize,
  PAGE_CHUNKS,
  pageCount,
  pageHash,
  rootHash,
} from './layout.ts'

/** Where the bytes of a blob are read from. Reads of several callers may overlap. */
export interface BlobSource {
  readonly size: number
  /** Fills the whole of `target` from `position`. @throws KithError when that is not possible any more. */
  read(target: Uint8Array, position: number): Promise<void>
}

/** A blob as its holder knows it. */
export interface Manifest extends BlobRef {
  /** The page hashes, joined. */
  readonly top: Uint8Array
  /** Plain SHA-256 of the whole content. */
  readonly sha256: Uint8Array
}

/** Pages kept of each served blob: 8 KiB each, and each saves reading 16 MiB again. */
const KEPT_PAGES = 64
/** Chunks read at once when a whole page is hashed. */
const READ_CHUNKS = 16

/**
 * Reads everything once and hashes it.
 * @throws TypeError for a size that no blob has. @throws KithError `ABORTED`, or what the source throws.
 */
export async function describeBlob(source: BlobSource, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Manifest> {
  const { size } = source
  if (!isBlobSize(size)) throw new TypeError(`not the size of a blob: ${size}`)
  const whole = createSha256()
  const top = new Uint8Array(pageCount(size) * HASH_BYTES)
  for (let page = 0; page < pageCount(size); page++) {
    const hashes = await hashPage(source, page, { signal: options.signal, onData: (data) => whole.update(data) })
    top.set(pageHash(hashes), page * HASH_BYTES)
  }
  return { root: rootHash(size, top), size, top, sha256: whole.digest() }
}

interface HashOptions {
  readonly signal?: AbortSignal | undefined
  readonly onData?: (data: Uint8Array) => void
}

/** The chunk hashes of one page, read from the source. */
async function hashPage(source: BlobSource, page: number, { signal, onData }: HashOptions = {}): Promise<Uint8Array> {
  const { size } = source
  const count = chunksInPage(size, page)
  const hashes = new Uint8Array(count * HASH_BYTES)
  const buffer = Buffer.allocUnsafeSlow(Math.min(READ_CHUNKS, count) * CHUNK_BYTES)
  for (let first = 0; first < count; first += READ_CHUNKS) {
    if (signal?.aborted === true) throw new KithError('ABORTED')
    const position = (page * PAGE_CHUNKS + first) * CHUNK_BYTES
    const data = buffer.subarray(0, Math.min(READ_CHUNKS * CHUNK_BYTES, (count - first) * CHUNK_BYTES, size - position))
    await source.read(data, position)
    onData?.(data)
    for (let at = 0, place = first; at < data.length; at += CHUNK_BYTES, place++) {
      hashes.set(chunkHash(data.subarray(at, at + CHUNK_BYTES)), place * HASH_BYTES)
    }
  }
  return hashes
}

/**
 * A blob that is given to others. Whatever leaves it was hashed again after it was read: content that changed on the disk ends in `BLOB_CHANGED` here, and never
 * makes a liar of this node over there.
 */
export class ServedBlob {
  readonly manifest: Manifest
  readonly #source: BlobSource
  readonly #pages: Lru<number, Promise<Uint8Array>> = new Lru(KEPT_PAGES)

  constructor(manifest: Manifest, source: BlobSource) {
    this.manifest = manifest
    this.#source = source
  }

  /** Whether a page is at hand, or 16 MiB would have to be read for it. */
  knows(index: number): boolean {
    return this.#pages.get(index) !== undefined
  }

  /** The chunk hashes of a page, joined. @throws KithError `BLOB_CHANGED`, or what the source throws. */
  async page(index: number): Promise<Uint8Array> {
    const known = this.#pages.get(index)
    if (known !== undefined) return await known
    const made = this.#hash(index)
    this.#pages.set(index, made)
    // What failed once is tried again the next time.
    made.catch(() => this.#pages.delete(index))
    return await made
  }

  /** Bytes of a run of chunks within one page, each checked. @throws KithError `BLOB_CHANGED`, or what the source throws. */
  async chunks(first: number, count: number): Promise<Buffer> {
    const { size } = this.manifest
    const page = Math.floor(first / PAGE_CHUNKS)
    const hashes = await this.page(page)
    const last = first + count - 1
    if (Math.floor(last / PAGE_CHUNKS) !== page || last >= chunkCount(size)) throw new TypeError('a run of chunks stays within its page')
    const data = Buffer.allocUnsafeSlow((count - 1) * CHUNK_BYTES + chunkLength(size, last))
    await this.#source.read(data, first * CHUNK_BYTES)
    for (let i = 0; i < count; i++) {
      const found = chunkHash(data.subarray(i * CHUNK_BYTES, (i + 1) * CHUNK_BYTES))
      if (!equal(found, hashAt(hashes, first + i - page * PAGE_CHUNKS))) throw new KithError('BLOB_CHANGED')
    }
    return data
  }

  async #hash(index: number): Promise<Uint8Array> {
    const hashes = await hashPage(this.#source, index)
    if (!equal(pageHash(hashes), hashAt(this.manifest.top, index))) throw new KithError('BLOB_CHANGED')
    return hashes
  }
}
