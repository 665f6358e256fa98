import { bytes, bytesN, type Codec, constant, decode, encode, malformed, mapped, option, struct, u32, uint53 } from '../../core/codec.ts'
import { MAX_GRANT_BYTES } from './grant.ts'
import { type BlobRef, CHUNK_BYTES, chunkLength, HASH_BYTES, isBlobSize, PAGE_CHUNKS, pageCount } from './layout.ts'

/**
 * # Blob protocol `icn/blob/1`
 *
 * One stream joins one requester (R) with one provider (P) for one blob. R asks as often as it likes; P answers in the order of the questions and reads the next
 * one only when the last answer is out, so questions cost P nothing until their turn comes.
 *
 * ```text
 * R->P  OPEN    01 || u32 length || 01 || bytes32 root || u64 size || bytes16 nonce || option<bytes grant> || option<papers>
 *               papers = bytes binding || bytes chain      of the device that signed the grant, for a provider that has not met it
 * P->R  WAIT    80                                         any number of them: P is still looking at the file
 * P->R  READY   81
 * R->P  TOP     02                                         P->R  82 || page hashes
 * R->P  PAGE    03 || u32 page                             P->R  83 || u32 page || chunk hashes
 * R->P  GET     04 || u32 id || u32 first || u16 count     P->R  count x ( 84 || u32 id || u32 chunk || u32 length || data )
 *               ids rise by one from 0; 1 <= count <= 16, all chunks of one page
 * R->P  end of stream: nothing more is wanted
 * refusal       reset: BLOB_UNKNOWN (not here, or not for you: one answer for both), BUDGET_EXCEEDED, REPLAYED, BLOB_CHANGED, TIMEOUT, WIRE_MALFORMED
 * ```
 *
 * All lengths follow from size and place, so nothing the other side says is ever allocated by its word. What R asks is checked by P against the size both agreed on,
 * what P sends by R against what R asked next; anything else ends the stream.
 */
export const BLOB_PROTOCOL = 'icn/blob/1'

export const NONCE_BYTES = 16
/** Chunks of one GET: 1 MiB. */
export const MAX_GET_CHUNKS = 16
const MAX_BINDING_BYTES = 16_384
const MAX_CHAIN_BYTES = 65_536

export const KIND = {
  open: 0x01,
  top: 0x02,
  page: 0x03,
  get: 0x04,
  wait: 0x80,
  ready: 0x81,
  topIs: 0x82,
  pageIs: 0x83,
  chunk: 0x84,
} as const

export interface OpenPapers {
  readonly binding: Uint8Array
  readonly chain: Uint8Array
}

export interface Opening extends BlobRef {
  readonly nonce: Uint8Array
  /** What the provider decides by: who gave it the blob allows it to give it to me. Absent: the provider offered it to me itself. */
  readonly grant: Uint8Array | undefined
  readonly papers: OpenPapers | undefined
}

const blobSize: Codec<number> = mapped(
  uint53,
  (size) => {
    if (!isBlobSize(size)) throw malformed('no blob is so large', { size })
    return size
  },
  (size) => size,
)

interface OpeningFields extends Opening {
  readonly _version?: undefined
}

export const opening: Codec<OpeningFields> = struct<OpeningFields>({
  _version: constant(0x01),
  root: bytesN(HASH_BYTES),
  size: blobSize,
  nonce: bytesN(NONCE_BYTES),
  grant: option(bytes(MAX_GRANT_BYTES)),
  papers: option(struct<OpenPapers>({ binding: bytes(MAX_BINDING_BYTES), chain: bytes(MAX_CHAIN_BYTES) })),
})

export const MAX_OPENING_BYTES: number = opening.max

/** The whole OPEN frame. */
export function encodeOpen(value: Opening): Uint8Array {
  const body = encode(opening, value)
  const frame = Buffer.allocUnsafe(5 + body.length)
  frame[0] = KIND.open
  frame.writeUInt32BE(body.length, 1)
  frame.set(body, 5)
  return frame
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeOpening(body: Uint8Array): Opening {
  return decode(opening, body)
}

/** A run of chunks of one page. */
export interface Span {
  readonly first: number
  readonly count: number
}

export interface Get extends Span {
  readonly id: number
}

export const GET_BODY_BYTES = 10
export const CHUNK_HEAD_BYTES = 13

export function encodeTop(): Uint8Array {
  return Uint8Array.of(KIND.top)
}

export function encodePage(page: number): Uint8Array {
  const frame = Buffer.allocUnsafe(5)
  frame[0] = KIND.page
  frame.writeUInt32BE(page, 1)
  return frame
}

export function encodeGet({ id, first, count }: Get): Uint8Array {
  const frame = Buffer.allocUnsafe(1 + GET_BODY_BYTES)
  frame[0] = KIND.get
  frame.writeUInt32BE(id, 1)
  frame.writeUInt32BE(first, 5)
  frame.writeUInt16BE(count, 9)
  return frame
}

/** Reads the body of a PAGE. @throws KithError `WIRE_MALFORMED` for a page the blob does not have. */
export function decodePage(body: Uint8Array, size: number): number {
  const page = decode(u32, body)
  if (page >= pageCount(size)) throw malformed('no such page', { page })
  return page
}

/** Reads the body of a GET. @throws KithError `WIRE_MALFORMED` for chunks the blob does not have, too many of them, or of two pages. */
export function decodeGet(body: Buffer, size: number): Get {
  const [id, first, count] = [body.readUInt32BE(0), body.readUInt32BE(4), body.readUInt16BE(8)]
  if (count === 0 || count > MAX_GET_CHUNKS) throw malformed('chunks out of range', { count })
  const last = first + count - 1
  if (last * CHUNK_BYTES >= size || Math.floor(first / PAGE_CHUNKS) !== Math.floor(last / PAGE_CHUNKS)) throw malformed('no such chunks', { first, count })
  return { id, first, count }
}

/** The head of a chunk frame, which is always written in front of exactly its data. */
export function encodeChunkHead(id: number, chunk: number, size: number): Buffer {
  const frame = Buffer.allocUnsafe(CHUNK_HEAD_BYTES)
  frame[0] = KIND.chunk
  frame.writeUInt32BE(id, 1)
  frame.writeUInt32BE(chunk, 5)
  frame.writeUInt32BE(chunkLength(size, chunk), 9)
  return frame
}

/** Checks that a head is that of the chunk asked for next. @throws KithError `WIRE_MALFORMED`. */
export function checkChunkHead(head: Buffer, expected: { readonly id: number; readonly chunk: number; readonly size: number }): void {
  if (head[0] !== KIND.chunk) throw malformed('not the answer to what was asked', { kind: head[0] ?? -1 })
  if (head.readUInt32BE(1) !== expected.id || head.readUInt32BE(5) !== expected.chunk) throw malformed('a chunk that was not asked for')
  if (head.readUInt32BE(9) !== chunkLength(expected.size, expected.chunk)) throw malformed('a chunk of the wrong length')
}
