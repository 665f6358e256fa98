import { bytes, bytesN, type Codec, constant, list, malformed, struct, text, u8, u32, uint53 } from '../core/codec.ts'

/**
 * # File protocol `kith/file/1`
 *
 * One stream carries one file. Chunks are verified one by one before they are written, so whatever is on the receiver's disk in whole chunks is good,
 * and an interrupted transfer goes on behind the last of them.
 *
 * ```text
 * S->R  OFFER   01 01 || varint n || name (UTF-8) || u64 size || bytes32 fingerprint || u8 resume
 *               01 02 || ... the same ... || varint n || n x bytes16 holder (1 <= n <= 16)       others have this file from me
 * R->S  RESUME  02 || u64 have || bytes32 digest             have = whole MiB already here, digest = SHA-256 over their chunk digests
 * S->R  BEGIN   03 || u64 from                               have, when the digests agree; otherwise 0 and the receiver starts over
 * S->R  CHUNK   04 || u32 length || bytes32 SHA-256 || data  1 MiB each, only the last may be shorter
 * S->R  DONE    05 || bytes32 SHA-256 of the whole file
 * R->S  STORED  06 || varint n || name it was stored under || bytes32 SHA-256
 * refusal       reset with FILE_DENIED, FILE_QUOTA, FILE_NAME, FILE_MISMATCH, TIMEOUT, WIRE_MALFORMED
 * ```
 *
 * With a second form of OFFER the receiver may fetch the content as a blob (`icn/blob/1`), from the sender and from others at once, and only says here how far it is:
 *
 * ```text
 * R->S  FETCH   07 || varint n || n x u8 place                           which holders it is linked with
 * S->R  WAIT    09                                                       any number: the file is being hashed
 * S->R  SHARE   08 || bytes32 blob root || bytes32 SHA-256 || bytes grant
 * R->S  AT      0a || u64 bytes here || u64 of them before || u8 peers   at least every few seconds, then STORED
 * ```
 *
 * holder = H("icn/file-holder/v1", fingerprint || DID)[0..16]: only who is linked with a holder recognises it, so nobody learns the names of other recipients.
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

export const MAX_HOLDERS = 16
export const HOLDER_BYTES = 16

/** An offer of a file that others have from the sender too. */
export interface SharedOffer extends Offer {
  holders: readonly Uint8Array[]
}

export const sharedOffer: Codec<SharedOffer> = struct<SharedOffer>({
  _tag: constant(0x01, 0x02),
  name: text(MAX_NAME_WIRE_BYTES),
  size: uint53,
  fingerprint: bytesN(32),
  resume: flag,
  holders: list(bytesN(HOLDER_BYTES), MAX_HOLDERS),
})

export const FETCH = 0x07
export interface Fetch {
  _tag?: undefined
  places: readonly number[]
}
export const fetch: Codec<Fetch> = struct<Fetch>({ _tag: constant(FETCH), places: list(u8, MAX_HOLDERS) })

export const SHARE = 0x08
export const WAIT = 0x09
export const MAX_GRANT_BYTES = 8_192
export interface Share {
  _tag?: undefined
  root: Uint8Array
  sha256: Uint8Array
  grant: Uint8Array
}
export const share: Codec<Share> = struct<Share>({ _tag: constant(SHARE), root: bytesN(32), sha256: bytesN(32), grant: bytes(MAX_GRANT_BYTES) })
/** Bytes behind the tag before the length of a SHARE is known, the longest form of the grant's length included. */
export const SHARE_HEAD_BYTES = 66

/** How many bytes of a SHARE follow its head. @throws KithError `WIRE_MALFORMED`. */
export function shareRest(head: Uint8Array): number {
  const [low, high] = [head[64] as number, head[65] as number]
  if (low < 0x80) throw malformed('no grant is so short', { length: low })
  const length = (low & 0x7f) | (high << 7)
  if (length > MAX_GRANT_BYTES) throw malformed('grant too long', { length })
  return length
}

export const AT = 0x0a
export interface At {
  _tag?: undefined
  bytes: number
  resumed: number
  peers: number
}
export const at: Codec<At> = struct<At>({ _tag: constant(AT), bytes: uint53, resumed: uint53, peers: u8 })

export interface Resume {
  _tag?: undefined
  have: number
  digest: Uint8Array
}
export const RESUME = 0x02
export const resume: Codec<Resume> = struct<Resume>({ _tag: constant(RESUME), have: uint53, digest: bytesN(32) })

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
