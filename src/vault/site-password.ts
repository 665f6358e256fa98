import { utf8 } from '../core/bytes.ts'
import { hmacSha512Into } from '../core/crypto/kdf.ts'
import { KithError } from '../core/errors.ts'
import { leaseKey } from '../core/key-slab.ts'
import { Secret } from '../core/secret.ts'

/**
 * # Site passwords
 *
 * ```text
 * key        = SLIP-0010 at m/74'/1'/(version - 1)'/s'       s from the site's name (`paths.ts`)
 * stream     = HMAC-SHA-512(key, 16 "kith/password/v1" || u8 round || site)                   64 bytes
 * character  = ALPHABET[stream[i] & 63]       A..Z a..z 0..9 - _       (the alphabet of base64url)
 * password   = the first `length` characters, of the first round (0, 1, 2, ...) in which they hold a capital, a small letter, a digit and one of - _
 * ```
 *
 * The name of the site goes into the stream and not only into the path: 31 bits are few, and a page that wants the password of another one could find a name
 * that leads to the same path in minutes. A character carries 6 bits: 24 of them 144, before the little that the choice of the round takes.
 */
const LABEL = Buffer.from('\x10kith/password/v1')
const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')
const STREAM_BYTES = 64
export const MIN_PASSWORD_LENGTH = 12
export const MAX_PASSWORD_LENGTH = 64
export const DEFAULT_PASSWORD_LENGTH = 24
const MAX_SITE_BYTES = 253
/** Of 12 characters one round in four fits; that 255 in a row do not never happens. */
const MAX_ROUNDS = 255
const KINDS: readonly (readonly [number, number])[] = [
  [0, 25],
  [26, 51],
  [52, 61],
  [62, 63],
]

/**
 * The one form of a site's name: as typed, in Unicode's NFC and small letters, without spaces around it.
 * @throws KithError `USAGE` for an empty or long name, spaces or control characters inside, or a URL.
 */
export function siteName(typed: string): string {
  if (typed.length > MAX_SITE_BYTES * 2) throw wrongSite()
  const name = typed.normalize('NFC').trim().toLowerCase()
  if (name === '' || Buffer.byteLength(name) > MAX_SITE_BYTES || /[\s\p{Cc}\p{Cf}]|:\/\//u.test(name)) throw wrongSite()
  return name
}

/** The password of a site from the key of its path. The caller wipes it. @throws TypeError for a length outside 12..64. */
export function passwordOf(key: Secret, site: string, length: number): Secret {
  if (!Number.isInteger(length) || length < MIN_PASSWORD_LENGTH || length > MAX_PASSWORD_LENGTH)
    throw new TypeError(`a password has ${MIN_PASSWORD_LENGTH} to ${MAX_PASSWORD_LENGTH} characters`)
  const stream = leaseKey(STREAM_BYTES)
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      key.use((bytes) => hmacSha512Into(stream.bytes, bytes, [LABEL, Uint8Array.of(round), utf8(site)]))
      const values = stream.bytes.subarray(0, length)
      for (let i = 0; i < length; i++) values[i] = (values[i] as number) & 63
      if (!KINDS.every(([first, last]) => values.some((value) => value >= first && value <= last))) continue
      const password = Secret.alloc(length)
      password.fill((target) => {
        for (let i = 0; i < length; i++) target[i] = ALPHABET[values[i] as number] as number
      })
      return password
    }
    throw new KithError('INTERNAL')
  } finally {
    stream.release()
  }
}

function wrongSite(): KithError {
  return new KithError('USAGE', 'A site is named like example.org: without spaces, without https://, at most 253 bytes.')
}
