import type { Signature } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, decode, encode, malformed, struct, u32, uint53 } from '../core/codec.ts'
import { hashLabeled, labeled } from '../core/crypto/labels.ts'
import { MAX_BINDING_BYTES } from './hello-codec.ts'

/**
 * # Locate (PN-2)
 *
 * ```text
 * request  4b 10 01 | nonce 16 | tag 32 | u32 have_index                                                           55 bytes
 * answer   4b 11 01 | varint length | binding | varint length | chain tail (<= 64 KiB) | u64 time_ms | signature 64
 *
 * tag       = H("icn/locate/v1", did 32 | nonce 16)                 only who knows the DID can make or recognise it
 * signature = by the link key, label "icn/locate-answer/v1", over nonce | tag | every byte of the answer before the signature
 * ```
 *
 * `have_index` is the last chain entry the asker has, `NO_INDEX` when it has none; the tail holds the entries after it, as many as fit.
 */
export const LOCATE_REQUEST_BYTES = 55
export const MAX_LOCATE_TAIL_BYTES = 65_536
/** `have_index` of someone who has no entry at all. */
export const NO_INDEX = 0xffff_ffff

const TAG_LABEL = 'icn/locate/v1'
const ANSWER_LABEL = 'icn/locate-answer/v1'
const REQUEST_HEAD = Uint8Array.of(0x4b, 0x10, 0x01)
const ANSWER_HEAD = Uint8Array.of(0x4b, 0x11, 0x01)
const SIGNATURE_BYTES = 64

export interface LocateRequest {
  readonly nonce: Uint8Array
  readonly tag: Uint8Array
  readonly haveIndex: number
}

export interface LocateAnswer {
  readonly binding: Uint8Array
  /** Encoded entries (PN-6). */
  readonly tail: Uint8Array
  readonly timeMs: number
}

const request: Codec<LocateRequest> = struct({ nonce: bytesN(16), tag: bytesN(32), haveIndex: u32 })
const answer: Codec<LocateAnswer> = struct({ binding: bytes(MAX_BINDING_BYTES), tail: bytes(MAX_LOCATE_TAIL_BYTES), timeMs: uint53 })

export function locateTag(didKey: Uint8Array, nonce: Uint8Array): Uint8Array {
  return hashLabeled(TAG_LABEL, didKey, nonce)
}

export function encodeLocateRequest(value: LocateRequest): Uint8Array {
  return Buffer.concat([REQUEST_HEAD, encode(request, value)])
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeLocateRequest(frame: Uint8Array): LocateRequest {
  return decode(request, afterHead(frame, REQUEST_HEAD))
}

/** The answer without its signature. */
export function encodeLocateAnswerBody(value: LocateAnswer): Uint8Array {
  return Buffer.concat([ANSWER_HEAD, encode(answer, value)])
}

/** What the link key signs. */
export function locateAnswerMessage(asked: Pick<LocateRequest, 'nonce' | 'tag'>, body: Uint8Array): Uint8Array {
  return labeled(ANSWER_LABEL, asked.nonce, asked.tag, body)
}

export interface SignedLocateAnswer extends LocateAnswer {
  readonly body: Uint8Array
  readonly signature: Signature
}

/** @throws KithError `WIRE_MALFORMED`. */
export function decodeLocateAnswer(frame: Uint8Array): SignedLocateAnswer {
  if (frame.length < SIGNATURE_BYTES) throw malformed('ends too early', { length: frame.length })
  const body = frame.slice(0, frame.length - SIGNATURE_BYTES)
  return { ...decode(answer, afterHead(body, ANSWER_HEAD)), body, signature: frame.slice(body.length) as Signature }
}

function afterHead(frame: Uint8Array, head: Uint8Array): Uint8Array {
  for (const [at, byte] of head.entries()) if (frame[at] !== byte) throw malformed('unexpected tag')
  return frame.subarray(head.length)
}
