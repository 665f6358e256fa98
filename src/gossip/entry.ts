import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { plain } from '../core/bytes.ts'
import { bytes, bytesN, type Codec, constant, decode, encode, list, malformed, mapped, struct, u8, uint53, varint } from '../core/codec.ts'
import { MAX_PAYLOAD_BYTES } from '../mesh/messages/envelope.ts'
import { ID_BYTES } from './wire.ts'

/**
 * # Payload of an entry
 *
 * Stands inside the signed body of a record, so author, topic, time, number and this are under one signature, and the id of the entry is the hash of all of it.
 *
 * ```text
 * payload = u8 1 || u8 form (0 as it is, 1 zstd) || varint length of the data, inflated
 *        || list<reference> (<= 8) || bytes data
 * reference = u64 time_ms || bytes32 id       an entry of this topic that its author had seen and nothing it had seen referred to
 * ```
 *
 * References are all that is said about order: there is no counter that an author could set high. They name entries by their hash, so a chain of them is a proof of
 * what came first, and one that names nothing holds nothing up for long (causal.ts).
 *
 * The inflated length is told before anything is inflated, is at most 1 MiB, must be exact, and bounds what zstd may write.
 */
export const MAX_REFERENCES = 8
/** What an entry may carry: an envelope's payload less its own head. */
export const MAX_DATA_BYTES: number = MAX_PAYLOAD_BYTES - 512
const COMPRESS_FROM_BYTES = 1024
const LEVEL = 3

export interface Reference {
  readonly timeMs: number
  readonly id: Uint8Array
}

export interface Payload {
  readonly references: readonly Reference[]
  readonly data: Uint8Array
}

/** A payload that decodes. */
export interface ReadPayload {
  readonly references: readonly Reference[]
  /** Bytes it inflates to. */
  readonly length: number
  /** @throws KithError `WIRE_MALFORMED`. */
  inflate(): Uint8Array
}

interface Fields {
  readonly _version?: undefined
  readonly zstd: boolean
  readonly length: number
  readonly references: readonly Reference[]
  readonly data: Uint8Array
}

const codec: Codec<Fields> = struct<Fields>({
  _version: constant(1),
  zstd: mapped(
    u8,
    (value) => {
      if (value > 1) throw malformed('form')
      return value === 1
    },
    (value) => (value ? 1 : 0),
  ),
  length: varint,
  references: list(struct<Reference>({ timeMs: uint53, id: bytesN(ID_BYTES) }), MAX_REFERENCES),
  data: bytes(MAX_DATA_BYTES),
})

/** @throws TypeError when there is too much of something. */
export function encodePayload({ references, data }: Payload): Uint8Array {
  if (data.length > MAX_DATA_BYTES) throw new TypeError(`an entry carries at most ${MAX_DATA_BYTES} bytes`)
  const packed = data.length < COMPRESS_FROM_BYTES ? undefined : zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } })
  const zstd = packed !== undefined && packed.length < data.length
  return encode(codec, { zstd, length: data.length, references, data: zstd ? plain(packed) : data })
}

/**
 * Reads a payload; nothing is inflated yet.
 * @throws KithError `WIRE_MALFORMED`.
 */
export function readPayload(payload: Uint8Array): ReadPayload {
  const fields = decode(codec, payload)
  const { length, references, data, zstd } = fields
  if (length > MAX_DATA_BYTES) throw malformed('longer than allowed', { length, limit: MAX_DATA_BYTES })
  if (zstd ? data.length >= length : data.length !== length) throw malformed('length of the data', { length })
  return { references, length, inflate: () => (zstd ? inflate(data, length) : data) }
}

/** @throws KithError `WIRE_MALFORMED` for anything but exactly `length` bytes. */
function inflate(data: Uint8Array, length: number): Uint8Array {
  let out: Uint8Array
  try {
    out = plain(zstdDecompressSync(data, { maxOutputLength: length }))
  } catch {
    throw malformed('compressed data')
  }
  if (out.length !== length) throw malformed('length of the data', { length })
  return out
}
