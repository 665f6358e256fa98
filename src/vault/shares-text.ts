import { bytesN, type Codec, decode, encode, malformed, struct, u8 } from '../core/codec.ts'
import { sha256 } from '../core/crypto/hash.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

/**
 * # A share as text
 *
 * ```text
 * u8 version=1 || u8 threshold || u8 count || u8 number || set id(4) || point: y(entropy + 4) || x(1) || first 4 bytes of SHA-256 of all before
 *
 * "kith-share-" and the bytes in base32 (Crockford: no I, L, O, U), groups of five letters, dashes between:  kith-share-04106-0A5R8-...
 * ```
 *
 * Made to be written by hand and read back: any case, any spaces and dashes, O for 0, I and L for 1. A phrase has 16 to 32 bytes, a share of it 61 to 87 letters.
 */
export interface Share {
  readonly threshold: number
  readonly count: number
  /** From 1. */
  readonly number: number
  readonly setId: Uint8Array
  /** As the library cuts it: the values, then the place. */
  readonly point: Uint8Array
}

const VERSION = 1
const CHECKSUM_BYTES = 4
const HEAD_BYTES = 8
/** Of a phrase of 12, 15, 18, 21, 24 words: its entropy, the digest and the place. */
const POINT_BYTES: ReadonlySet<number> = new Set([21, 25, 29, 33, 37])
const PREFIX = 'kith-share-'
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const GROUP = 5
/** What is looked at of one share, spaces included. */
export const MAX_SHARE_TEXT_BYTES = 512

interface Head {
  readonly version: number
  readonly threshold: number
  readonly count: number
  readonly number: number
  readonly setId: Uint8Array
}

const head: Codec<Head> = struct<Head>({ version: u8, threshold: u8, count: u8, number: u8, setId: bytesN(4) })

export function encodeShare({ point, ...share }: Share): Secret {
  const bytes = new Uint8Array(HEAD_BYTES + point.length + CHECKSUM_BYTES)
  bytes.set(encode(head, { version: VERSION, ...share }))
  bytes.set(point, HEAD_BYTES)
  point.fill(0)
  bytes.set(checksum(bytes.subarray(0, -CHECKSUM_BYTES)), bytes.length - CHECKSUM_BYTES)
  const letters = Math.ceil((bytes.length * 8) / 5)
  const text = Buffer.alloc(PREFIX.length + letters + Math.floor((letters - 1) / GROUP))
  let at = text.write(PREFIX, 'latin1')
  for (let i = 0; i < letters; i++) {
    if (i > 0 && i % GROUP === 0) at = text.writeUInt8(0x2d, at)
    const bit = i * 5
    const window = ((bytes[bit >> 3] as number) << 8) | (bytes[(bit >> 3) + 1] ?? 0)
    at = text.writeUInt8(ALPHABET.charCodeAt((window >> (11 - (bit & 7))) & 31), at)
  }
  bytes.fill(0)
  return Secret.take(text)
}

/** @param given which of those somebody gave, for the error. @throws KithError `SHARE_DAMAGED`. */
export function decodeShare(text: Secret, given: number): Share {
  if (text.length > MAX_SHARE_TEXT_BYTES) throw damaged(given, 'it is too long')
  const bytes = text.use((letters) => bytesOf(letters, given))
  try {
    const end = bytes.length - CHECKSUM_BYTES
    if (!POINT_BYTES.has(end - HEAD_BYTES)) throw damaged(given, 'letters are missing, or there are too many')
    if (!Buffer.from(checksum(bytes.subarray(0, end))).equals(bytes.subarray(end))) throw damaged(given, 'a letter is wrong')
    const { version, ...share } = decode(head, bytes.subarray(0, HEAD_BYTES))
    if (version !== VERSION) throw damaged(given, 'it is of a version that this program does not know')
    const point = bytes.slice(HEAD_BYTES, end)
    if (share.threshold < 2 || share.threshold > share.count || share.number < 1 || share.number > share.count || point.at(-1) === 0)
      throw malformed('numbers of a share')
    return { ...share, point }
  } catch (error) {
    if (isKithError(error, 'WIRE_MALFORMED')) throw damaged(given, 'its numbers make no sense')
    throw error
  } finally {
    bytes.fill(0)
  }
}

function bytesOf(letters: Buffer, given: number): Uint8Array {
  const from = skipPrefix(letters)
  const out = new Uint8Array(Math.floor(((letters.length - from) * 5) / 8))
  let length = 0
  let held = 0
  let bits = 0
  for (let at = from; at < letters.length; at++) {
    const value = valueOfLetter(letters[at] as number)
    if (value === undefined) continue
    if (value < 0) throw damaged(given, `letter ${at + 1} is none that a share has`)
    held = ((held << 5) | value) & 0xfff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      out[length++] = (held >> bits) & 0xff
    }
  }
  // What is left of the last letter is nothing.
  if (bits >= 5 || (held & ((1 << bits) - 1)) !== 0) throw damaged(given, 'letters are missing, or there are too many')
  return out.subarray(0, length)
}

function skipPrefix(letters: Buffer): number {
  let from = 0
  while (from < letters.length && isBetween(letters[from] as number)) from++
  return letters.toString('latin1', from, from + PREFIX.length).toLowerCase() === PREFIX ? from + PREFIX.length : from
}

/** `undefined` for what stands between letters, -1 for what no share has. */
function valueOfLetter(byte: number): number | undefined {
  if (isBetween(byte)) return undefined
  const letter = String.fromCharCode(byte).toUpperCase()
  return ALPHABET.indexOf(letter === 'O' ? '0' : letter === 'I' || letter === 'L' ? '1' : letter)
}

function isBetween(byte: number): boolean {
  return byte === 0x2d || byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
}

function checksum(bytes: Uint8Array): Uint8Array {
  return sha256(bytes).subarray(0, CHECKSUM_BYTES)
}

function damaged(share: number, reason: string): KithError {
  return new KithError('SHARE_DAMAGED', `Share ${share} cannot be read: ${reason}.`, {
    details: { share, reason },
    next: 'compare it with the paper, letter by letter: kith init --restore-shares',
  })
}
