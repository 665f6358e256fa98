import { concat, equal, toHex } from '../core/bytes.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { KithError } from '../core/errors.ts'

/**
 * # Requests and grants as text
 *
 * ```text
 * line  = "KITH-" KIND "-" ID "-" PART "-" PARTS "-" DATA           KIND  REQUEST or GRANT      PART 1..PARTS, at most 99
 * ID    = first 4 bytes of H("icn/device-text/v1", bytes), 8 hexadecimal digits in capitals
 * DATA  = base32 (RFC 4648, section 6) without padding, of this part of the bytes
 * ```
 *
 * Only characters of a QR code's alphanumeric mode, and lines short enough to be pasted on any terminal: the same text is a file, something to paste, and a row of
 * QR codes. Lines may come in any order, twice, and between other text; what is missing is named.
 */
export type DeviceTextKind = 'request' | 'grant'

/** A line stays below what a terminal takes in one (4,095 bytes). */
export const LINE_CHARS = 1_000
const MAX_PARTS = 99
/** What is read at most of a file or of standard input. */
export const MAX_TEXT_CHARS: number = 4 * 1024 * 1024
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const ID_BYTES = 4
const LINE = /KITH-(REQUEST|GRANT)-([0-9A-F]{8})-([1-9][0-9]?)-([1-9][0-9]?)-([A-Z2-7]+)/g

/** Lines of at most about `lineChars` characters; longer ones when there would be more than 99. */
export function deviceText(kind: DeviceTextKind, bytes: Uint8Array, lineChars: number = LINE_CHARS): readonly string[] {
  const each = Math.max(5, Math.floor(((lineChars - 32) * 5) / 8), Math.ceil(bytes.length / MAX_PARTS))
  const parts = Math.max(1, Math.ceil(bytes.length / each))
  const id = idOf(bytes)
  return Array.from({ length: parts }, (_, at) => `KITH-${kind.toUpperCase()}-${id}-${at + 1}-${parts}-${base32(bytes.subarray(at * each, (at + 1) * each))}`)
}

/**
 * The bytes of the one request or grant in a text.
 * @throws KithError `DEVICE_REQUEST_INVALID` or `DEVICE_GRANT_INVALID` (details.reason) when there is none, more than one, or a part is missing or damaged.
 */
export function readDeviceText(kind: DeviceTextKind, text: string): Uint8Array {
  if (text.length > MAX_TEXT_CHARS) throw unreadable(kind, 'it is too long')
  const parts = new Map<number, Uint8Array>()
  let id: string | undefined
  let count = 0
  for (const [, found, name, part, of, data] of text.matchAll(LINE)) {
    if (found !== kind.toUpperCase()) continue
    if ((id !== undefined && name !== id) || (count !== 0 && Number(of) !== count)) throw unreadable(kind, 'there are parts of more than one')
    id = name
    count = Number(of)
    const bytes = fromBase32(data as string)
    const before = parts.get(Number(part))
    if (bytes === undefined || Number(part) > count || (before !== undefined && !equal(before, bytes))) throw unreadable(kind, `part ${part} is damaged`)
    parts.set(Number(part), bytes)
  }
  if (count === 0) throw unreadable(kind, `there is no ${kind} in it`)
  const ordered = Array.from({ length: count }, (_, at) => parts.get(at + 1))
  const missing = ordered.indexOf(undefined)
  if (missing !== -1) throw unreadable(kind, `part ${missing + 1} of ${count} is missing`)
  const bytes = concat(...(ordered as readonly Uint8Array[]))
  if (idOf(bytes) !== id) throw unreadable(kind, 'it is damaged')
  return bytes
}

function idOf(bytes: Uint8Array): string {
  return toHex(hashLabeled('icn/device-text/v1', bytes).subarray(0, ID_BYTES)).toUpperCase()
}

function base32(bytes: Uint8Array): string {
  let text = ''
  let held = 0
  let bits = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return bits === 0 ? text : text + ALPHABET[(held << (5 - bits)) & 31]
}

/** Only the one spelling: no impossible length, no bits left over. */
function fromBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8))
  let held = 0
  let bits = 0
  let at = 0
  for (const char of text) {
    held = (held << 5) | ALPHABET.indexOf(char)
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes[at++] = held >> bits
    }
    held &= (1 << bits) - 1
  }
  return held === 0 && bits < 5 ? bytes : undefined
}

function unreadable(kind: DeviceTextKind, reason: string): KithError {
  const code = kind === 'request' ? 'DEVICE_REQUEST_INVALID' : 'DEVICE_GRANT_INVALID'
  return new KithError(code, `the ${kind} cannot be read: ${reason}`, { details: { reason }, next: `copy the whole ${kind} again` })
}
