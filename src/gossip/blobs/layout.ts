import { hashLabeled } from '../../core/crypto/labels.ts'

/**
 * # What a blob is called
 *
 * A blob is named by its size and the root of a two-level tree of hashes, so that a receiver can check every 64 KiB by itself, whoever sends them, and needs no
 * list of all hashes before it begins: 32 bytes per 16 MiB (the top), then 8 KiB per page when its turn comes.
 *
 * ```text
 * chunk     64 KiB of content, only the last one shorter          chunk hash = H("icn/blob-chunk/v1", data)
 * page      the hashes of 256 chunks in order (16 MiB)            page hash  = H("icn/blob-page/v1", chunk hash ...)
 * root      H("icn/blob-root/v1", u64 size || page hash ...)
 * ```
 *
 * The labels keep the levels apart: a page never passes for content, and two sizes never share a root. A blob of size 0 has no page.
 */
export const CHUNK_BYTES = 65_536
export const PAGE_CHUNKS = 256
export const PAGE_BYTES: number = CHUNK_BYTES * PAGE_CHUNKS
export const HASH_BYTES = 32
/** 1 TiB: its top is 2 MiB. */
export const MAX_BLOB_BYTES: number = 2 ** 40

/** What names a blob and commits to its whole content. */
export interface BlobRef {
  /** 32 bytes. */
  readonly root: Uint8Array
  readonly size: number
}

export function chunkHash(data: Uint8Array): Uint8Array {
  return hashLabeled('icn/blob-chunk/v1', data)
}

/** Of the chunk hashes of one page, joined. */
export function pageHash(hashes: Uint8Array): Uint8Array {
  return hashLabeled('icn/blob-page/v1', hashes)
}

/** Of the page hashes, joined. */
export function rootHash(size: number, top: Uint8Array): Uint8Array {
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(size))
  return hashLabeled('icn/blob-root/v1', length, top)
}

export function isBlobSize(size: number): boolean {
  return Number.isSafeInteger(size) && size >= 0 && size <= MAX_BLOB_BYTES
}

export function chunkCount(size: number): number {
  return Math.ceil(size / CHUNK_BYTES)
}

export function pageCount(size: number): number {
  return Math.ceil(size / PAGE_BYTES)
}

/** Chunks of one page: 256 in all but the last. */
export function chunksInPage(size: number, page: number): number {
  return Math.min(PAGE_CHUNKS, chunkCount(size) - page * PAGE_CHUNKS)
}

/** Bytes of one chunk: 64 KiB in all but the last. */
export function chunkLength(size: number, chunk: number): number {
  return Math.min(CHUNK_BYTES, size - chunk * CHUNK_BYTES)
}

/** The hash at a place in a page or a top. */
export function hashAt(hashes: Uint8Array, place: number): Uint8Array {
  return hashes.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES)
}
