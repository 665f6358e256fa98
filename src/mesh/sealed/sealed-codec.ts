import { concat, type PublicKey } from '../../core/bytes.ts'
import { bytesN, type Codec, constant, decode, encode, malformed, mapped, Reader, struct, u32, uint53, varintSize, Writer } from '../../core/codec.ts'
import { TAG_BYTES } from '../../core/crypto/aead.ts'
import { parsePublicKey } from '../../core/crypto/ed25519.ts'
import { HPKE_ENC_BYTES, HPKE_OVERHEAD_BYTES } from '../../core/crypto/hpke.ts'
import type { Did } from '../../identity/did.ts'
import { didCodec } from '../address-book-codec.ts'

/**
 * # Sealed messages (PN-9)
 *
 * ```text
 *  0   4b 20 01            what this is, and its version
 *  3   to DID 32
 * 35   msg_id 16           the same in every resend
 * 51   u64 expires_ms
 * 59   u32 size_bucket     bytes of the padded plaintext: 256 x 2^k, at most 1 MiB
 * 63   u8 n                1..16 machines of the addressee
 * 64   n x { device 32 | kid 8 | enc 1120 | wrapped 48 }             a content key for each, by HPKE
 *      bytes ct            varint length || ChaCha20-Poly1305 of the padded plaintext
 * ```
 *
 * Whoever keeps it sees whom it is for, until when, how many machines that person has and how large it is to within a factor of two: nothing of who sent it.
 */
export const SEALED_HEADER_BYTES = 63
export const MAX_RECIPIENTS = 16
export const MIN_BUCKET = 256
export const MAX_BUCKET = 1_048_576
export const KID_BYTES = 8
export const MSG_ID_BYTES = 16
/** A message lives at most so long (PN-7). */
export const MAX_LIFE_MS: number = 14 * 86_400_000
export const CONTENT_KEY_BYTES = 32
const WRAPPED_BYTES: number = CONTENT_KEY_BYTES + HPKE_OVERHEAD_BYTES
const BLOCK_BYTES: number = 32 + KID_BYTES + HPKE_ENC_BYTES + WRAPPED_BYTES

export interface SealedHeader {
  readonly to: Did
  readonly msgId: Uint8Array
  readonly expiresMs: number
  readonly bucket: number
}

/** What one machine opens the content with. */
export interface RecipientBlock {
  readonly device: PublicKey
  readonly kid: Uint8Array
  readonly enc: Uint8Array
  readonly wrapped: Uint8Array
}

export interface SealedMessage extends SealedHeader {
  readonly blocks: readonly RecipientBlock[]
  readonly ciphertext: Uint8Array
}

const bucket: Codec<number> = mapped(
  u32,
  (value) => {
    if (!isBucket(value)) throw malformed('size bucket', { bucket: value })
    return value
  },
  (value) => value,
)

const headerCodec: Codec<SealedHeader> = struct<SealedHeader & { _tag?: undefined }>({
  _tag: constant(0x4b, 0x20, 0x01),
  to: didCodec,
  msgId: bytesN(MSG_ID_BYTES),
  expiresMs: uint53,
  bucket,
})

const blockCodec: Codec<RecipientBlock> = struct<RecipientBlock>({
  device: mapped(bytesN(32), parsePublicKey, (key) => key),
  kid: bytesN(KID_BYTES),
  enc: bytesN(HPKE_ENC_BYTES),
  wrapped: bytesN(WRAPPED_BYTES),
})

/** The smallest bucket that holds so many bytes; `undefined` above 1 MiB. */
export function bucketOf(length: number): number | undefined {
  let size = MIN_BUCKET
  while (size < length) size *= 2
  return size > MAX_BUCKET ? undefined : size
}

function isBucket(size: number): boolean {
  return size >= MIN_BUCKET && size <= MAX_BUCKET && (size & (size - 1)) === 0
}

/** Length of a sealed message of this bucket for so many machines. */
export function sealedSize(size: number, recipients: number): number {
  const content = size + TAG_BYTES
  return SEALED_HEADER_BYTES + 1 + recipients * BLOCK_BYTES + varintSize(content) + content
}

export const MAX_SEALED_BYTES: number = sealedSize(MAX_BUCKET, MAX_RECIPIENTS)

export function encodeHeader(header: SealedHeader): Uint8Array {
  const { to, msgId, expiresMs, bucket: size } = header
  return encode(headerCodec, { to, msgId, expiresMs, bucket: size })
}

/** Reads the header off the beginning of a sealed message. @throws KithError `WIRE_MALFORMED`, `KEY_INVALID`. */
export function decodeHeader(bytes: Uint8Array): SealedHeader {
  const { to, msgId, expiresMs, bucket: size } = decode(headerCodec, bytes.subarray(0, SEALED_HEADER_BYTES))
  return { to, msgId, expiresMs, bucket: size }
}

export function encodeBlocks(blocks: readonly RecipientBlock[]): Uint8Array {
  if (blocks.length < 1 || blocks.length > MAX_RECIPIENTS) throw new TypeError(`a message is sealed to 1 to ${MAX_RECIPIENTS} machines, not ${blocks.length}`)
  return concat(...blocks.map((block) => encode(blockCodec, block)))
}

/** Puts the parts together: header and blocks as encoded. */
export function joinSealed(header: Uint8Array, blocks: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const writer = new Writer(header.length + 1 + blocks.length + varintSize(ciphertext.length) + ciphertext.length)
  writer.raw(header)
  writer.u8(blocks.length / BLOCK_BYTES)
  writer.raw(blocks)
  writer.varint(ciphertext.length)
  writer.raw(ciphertext)
  return writer.bytes
}

/** @throws KithError `WIRE_MALFORMED`, `KEY_INVALID` for anything but one canonical encoding. */
export function decodeSealed(bytes: Uint8Array): SealedMessage & { readonly encodedHeader: Uint8Array; readonly encodedBlocks: Uint8Array } {
  if (bytes.length < sealedSize(MIN_BUCKET, 1) || bytes.length > MAX_SEALED_BYTES) throw malformed('length out of range', { length: bytes.length })
  const header = decodeHeader(bytes)
  const reader = new Reader(bytes)
  reader.at = SEALED_HEADER_BYTES
  const count = reader.u8()
  if (count < 1 || count > MAX_RECIPIENTS) throw malformed('number of machines', { count })
  const from = reader.at
  const blocks: RecipientBlock[] = []
  const seen = new Set<string>()
  for (let i = 0; i < count; i++) {
    const block = blockCodec.read(reader)
    seen.add(Buffer.from(block.device).toString('latin1'))
    blocks.push(block)
  }
  if (seen.size !== count) throw malformed('one machine twice')
  const encodedBlocks = bytes.subarray(from, reader.at)
  const length = reader.varint()
  if (length !== header.bucket + TAG_BYTES || length !== reader.left) throw malformed('length of the content', { length, left: reader.left })
  return { ...header, blocks, ciphertext: bytes.subarray(reader.at), encodedHeader: bytes.subarray(0, SEALED_HEADER_BYTES), encodedBlocks }
}
