import { bytesN, type Codec, constant, malformed, struct, text, u32, uint53 } from '../core/codec.ts'

/**
 * # File protocol `kith/file/1`
 *
 * One stream carries one file. Chunks are verified one by one before they are written, so whatever is on the receiver's disk in whole chunks is good,
 * and an interrupted transfer goes on behind the last of them.
 *
 * ```text
 * S->R  OFFER   01 01 || varint n || name (UTF-8) || u64 size || bytes32 fingerprint || u8 resume
 * R->S  RESUME  02 || u64 have || bytes32 digest             have = whole MiB already here, digest = SHA-256 over their chunk digests
 * S->R  BEGIN   03 || u64 from                               have, when the digests agree; otherwise 0 and the receiver starts over
 * S->R  CHUNK   04 || u32 length || bytes32 SHA-256 || data  1 MiB each, only the last may be shorter
 * S->R  DONE    05 || bytes32 SHA-256 of the whole file
 * R->S  STORED  06 || varint n || name it was stored under || bytes32 SHA-256
 * refusal       reset with FILE_DENIED, FILE_QUOTA, FILE_NAME, FILE_MISMATCH, TIMEOUT, WIRE_MALFORMED
 * ```
 *
 * The fingerprint names one version of one file at the sender (name, size, time of change); it finds what an earlier attempt left behind and is trusted for nothing.
 */
export const FILE_PROTOCOL = 'kith/file/1'

export const CHUNK_BYTES = 1_048_576
export const MAX_NAME_WIRE_BYTES = 255

export interface Offer {
  _tag?: undefined
  name: string
  size: number
  fingerprint: Uint8Array
  /** 1: go on where an earlier attempt stopped. */
  resume: boolean
}

const flag: Codec<boolean> = {
  min: 1,
  max: 1,
  size: () => 1,
  write: (writer, value) => writer.u8(value ? 1 : 0),
  read(reader) {
    const value = reader.u8()
    if (value > 1) throw malformed('flag')
    return value === 1
  },
}

export const offer: Codec<Offer> = struct<Offer>({
  _tag: constant(0x01, 0x01),
  name: text(MAX_NAME_WIRE_BYTES),
  size: uint53,
  fingerprint: bytesN(32),
  resume: flag,
})

export interface Resume {
  _tag?: undefined
  have: number
  digest: Uint8Array
}
export const resume: Codec<Resume> = struct<Resume>({ _tag: constant(0x02), have: uint53, digest: bytesN(32) })

export interface Begin {
  _tag?: undefined
  from: number
}
export const begin: Codec<Begin> = struct<Begin>({ _tag: constant(0x03), from: uint53 })

export const CHUNK = 0x04
export interface ChunkHeader {
  _tag?: undefined
  length: number
  digest: Uint8Array
}
export const chunkHeader: Codec<ChunkHeader> = struct<ChunkHeader>({ _tag: constant(CHUNK), length: u32, digest: bytesN(32) })

export const DONE = 0x05
export interface Done {
  _tag?: undefined
  digest: Uint8Array
}
export const done: Codec<Done> = struct<Done>({ _tag: constant(DONE), digest: bytesN(32) })

export interface Stored {
  _tag?: undefined
  name: string
  digest: Uint8Array
}
export const stored: Codec<Stored> = struct<Stored>({ _tag: constant(0x06), name: text(MAX_NAME_WIRE_BYTES), digest: bytesN(32) })

/** Bytes to read before the length of an OFFER or a STORED is known: the tag and the longest form of the name's length. */
export const OFFER_HEAD_BYTES = 4
export const STORED_HEAD_BYTES = 3

/** How many bytes of an OFFER follow its head. @throws KithError `WIRE_MALFORMED`. */
export function offerRest(head: Uint8Array): number {
  return nameRest(head, 2) + 8 + 32 + 1
}

export function storedRest(head: Uint8Array): number {
  return nameRest(head, 1) + 32
}

/** Bytes of the name that follow a head holding `tag` bytes and two more. Negative by one for an empty name, which takes part of what follows with it. */
function nameRest(head: Uint8Array, tag: number): number {
  const low = head[tag] as number
  const high = head[tag + 1] as number
  const length = low < 0x80 ? low : (low & 0x7f) | (high << 7)
  if (length > MAX_NAME_WIRE_BYTES) throw malformed('name too long', { length })
  return low < 0x80 ? length - 1 : length
}
