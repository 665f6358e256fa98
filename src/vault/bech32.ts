import { KithError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

/**
 * # age keys as text: Bech32 (BIP-173) without its limit of 90 letters
 *
 * ```text
 * age1 <52 letters of 5 bits: 32 bytes> <6 letters of checksum>                 recipient, lower case
 * AGE-SECRET-KEY-1 <the same>                                                    identity, upper case
 * ```
 *
 * A secret key goes from the file's bytes into guarded memory letter by letter and is never a string.
 */
const LETTERS = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const VALUE_OF: ReadonlyMap<number, number> = new Map([...LETTERS].map((letter, value) => [letter.charCodeAt(0), value]))
const GENERATORS = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]
const CHECKSUM_LETTERS = 6
const KEY_BYTES = 32
const DATA_LETTERS = 52
const RECIPIENT = 'age'
const SECRET = 'age-secret-key-'
/** A file of many keys with comments. */
const MAX_KEY_FILE_BYTES = 65_536

/** `age1…` of an X25519 public key. */
export function formatRecipient(key: Uint8Array): string {
  if (key.length !== KEY_BYTES) throw new TypeError('an X25519 key has 32 bytes')
  const values: number[] = []
  let held = 0
  let bits = 0
  for (const byte of key) {
    held = ((held << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) values.push((held >> (bits - 5)) & 31)
  }
  values.push((held << (5 - bits)) & 31)
  const check = checksum([...prefixValues(RECIPIENT), ...values, 0, 0, 0, 0, 0, 0]) ^ 1
  for (let i = 0; i < CHECKSUM_LETTERS; i++) values.push((check >> (5 * (5 - i))) & 31)
  return `${RECIPIENT}1${values.map((value) => LETTERS[value]).join('')}`
}

/** The X25519 public key of `age1…`. @throws KithError `USAGE` for anything else, with the kind where it is a known one. */
export function parseRecipient(text: string): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  const bytes = Buffer.from(text, 'latin1')
  if (/^age1(pq|tag|yubikey)/.test(text) && bytes.length > 62)
    throw notRecipient(`${text.slice(0, 12)}… is an age key of a kind that backups are not sealed to; give an X25519 one, age1… of 62 letters.`)
  if (text !== text.toLowerCase() || !decodeInto(RECIPIENT, bytes, key))
    throw notRecipient(`'${text.slice(0, 80)}' is not an age recipient, age1… of 62 letters.`)
  return key
}

/**
 * The X25519 secrets in an age key file: a line `AGE-SECRET-KEY-1…` each, comments behind `#`. The bytes stay the caller's to zero.
 * @throws KithError `KEY_INVALID`, naming the line.
 */
export function parseKeyFile(file: Uint8Array): readonly Secret[] {
  if (file.length > MAX_KEY_FILE_BYTES) throw new KithError('KEY_INVALID', `a key file has at most ${MAX_KEY_FILE_BYTES} bytes`)
  const keys: Secret[] = []
  try {
    for (let from = 0, line = 1; from < file.length; line++) {
      let to = file.indexOf(0x0a, from)
      if (to < 0) to = file.length
      const text = file.subarray(from, file[to - 1] === 0x0d ? to - 1 : to)
      from = to + 1
      if (text.length === 0 || text[0] === 0x23) continue
      const key = Secret.alloc(KEY_BYTES)
      keys.push(key)
      let decoded = false
      key.fill((target) => {
        decoded = decodeInto(SECRET, text, target)
      })
      if (!decoded) throw new KithError('KEY_INVALID', `line ${line} of the key file is not AGE-SECRET-KEY-1…`, { details: { line } })
    }
    if (keys.length === 0) throw new KithError('KEY_INVALID', 'there is no key in the key file')
    return keys
  } catch (error) {
    for (const key of keys) key.wipe()
    throw error
  }
}

/** Whether `text` is that prefix, 1, 32 bytes and their checksum. Takes both cases, as BIP-173 does, but not mixed. */
function decodeInto(prefix: string, text: Uint8Array, target: Uint8Array): boolean {
  if (text.length !== prefix.length + 1 + DATA_LETTERS + CHECKSUM_LETTERS) return false
  let upper = false
  let lower = false
  const letter = (at: number): number => {
    const code = text[at] as number
    if (code >= 0x41 && code <= 0x5a) upper = true
    else if (code >= 0x61 && code <= 0x7a) lower = true
    return code >= 0x41 && code <= 0x5a ? code | 0x20 : code
  }
  for (let i = 0; i <= prefix.length; i++) if (letter(i) !== (i === prefix.length ? 0x31 : prefix.charCodeAt(i))) return false
  let check = prefixValues(prefix).reduce(step, 1)
  let held = 0
  let bits = 0
  let at = 0
  for (let i = prefix.length + 1; i < text.length; i++) {
    const value = VALUE_OF.get(letter(i))
    if (value === undefined) return false
    check = step(check, value)
    if (i >= prefix.length + 1 + DATA_LETTERS) continue
    held = ((held << 5) | value) & 0xfff
    bits += 5
    if (bits >= 8) {
      bits -= 8
      target[at++] = (held >> bits) & 0xff
    }
  }
  // The last letter has four bits beyond the 32 bytes; they are zero.
  return check === 1 && !(upper && lower) && (held & ((1 << bits) - 1)) === 0
}

function notRecipient(sentence: string): KithError {
  return new KithError('USAGE', sentence, { next: 'age-keygen -o key.txt (it prints the recipient of a new key)' })
}

function prefixValues(prefix: string): number[] {
  const codes = [...prefix].map((letter) => letter.charCodeAt(0))
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)]
}

function checksum(values: readonly number[]): number {
  return values.reduce(step, 1)
}

function step(check: number, value: number): number {
  const top = check >> 25
  let next = ((check & 0x1ffffff) << 5) ^ value
  for (const [i, generator] of GENERATORS.entries()) if (((top >> i) & 1) === 1) next ^= generator
  return next
}
