import { KithError } from '../core/errors.ts'

/**
 * # EncryptedData
 *
 * ```text
 * {"key_version": u32, "salt": base64(32), "iv": base64(12), "data": base64(ciphertext || tag 16)}      base64 of RFC 4648 with padding, canonical
 *
 * version 1        a password made the key: PBKDF2 over the salt (`encrypted-data-v1.ts`); read only, to be imported
 * version k >= 2   key m/74'/2'/0'/(k - 2)', AES-256-GCM, associated data = 19 "kith/sealed-data/v2" || u32 k || salt(32)    (`encrypted-data-v2.ts`)
 * ```
 *
 * Everything in it is authenticated. A text has one spelling, and what is not one opens with the same error as what was changed: nobody learns why.
 */
export interface EncryptedData {
  readonly key_version: number
  readonly salt: string
  readonly iv: string
  readonly data: string
}

export const IV_BYTES = 12
export const TAG_BYTES = 16
export const SALT_BYTES = 32
export const PASSWORD_VERSION = 1
export const FIRST_KEY_VERSION = 2
/** What guarded memory takes in one piece. */
export const MAX_PLAINTEXT_BYTES = 1_048_576
/** Indices of paths end below 2^31. */
export const MAX_KEY_VERSION: number = 0x7fff_ffff + FIRST_KEY_VERSION
export const MAX_DATA_CHARS: number = Math.ceil((MAX_PLAINTEXT_BYTES + TAG_BYTES) / 3) * 4
const PAD = 0x3d
/** Letters whose last two, and last four, of six bits are zero. */
const ENDS_TWO_BYTES = 'AEIMQUYcgkosw048'
const ENDS_ONE_BYTE = 'AQgw'
const FIELDS = new Set(['key_version', 'salt', 'iv', 'data'])
/** Four numbers and texts with room for white space. */
const MAX_TEXT_CHARS = MAX_DATA_CHARS + 4_096

/** Reads the JSON form. @throws KithError `DECRYPT_FAILED` for anything else. */
export function parseEncryptedData(text: string): EncryptedData {
  if (text.length > MAX_TEXT_CHARS) throw failed()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw failed()
  }
  if (!isEncryptedData(value)) throw failed()
  return value
}

/** Whether a value has the fields of the form, and no others. What is in them shows when they are read. */
export function isEncryptedData(value: unknown): value is EncryptedData {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const names = Object.keys(value)
  if (names.length !== FIELDS.size || !names.every((name) => FIELDS.has(name))) return false
  const { key_version: version, salt, iv, data } = value as Record<keyof EncryptedData, unknown>
  return Number.isInteger(version) && typeof salt === 'string' && typeof iv === 'string' && typeof data === 'string'
}

/** The version, once it is one. @throws KithError `DECRYPT_FAILED`. */
export function versionOf({ key_version: version }: EncryptedData): number {
  if (!Number.isInteger(version) || version < PASSWORD_VERSION || version > MAX_KEY_VERSION) throw failed()
  return version
}

/** The bytes of a text of at most `maxChars`. @throws KithError `DECRYPT_FAILED` for a spelling that is not the one of RFC 4648. */
export function fromBase64(text: string, maxChars: number): Buffer {
  if (typeof text !== 'string' || text.length > maxChars) throw failed()
  const bytes = Buffer.alloc(Math.ceil(text.length / 4) * 3)
  return bytes.subarray(0, decodeBase64(text, bytes))
}

/**
 * Decodes into `target`, which has room, and gives the number of bytes. The runtime skips what is not base64, takes - and _ for + and /, and ignores bits
 * that no byte uses; each of these would be another spelling of the same. To write the bytes out and compare costs more than all that is done with them.
 * @throws KithError `DECRYPT_FAILED`.
 */
export function decodeBase64(text: string, target: Buffer): number {
  const { length } = text
  const padding = text.charCodeAt(length - 1) !== PAD ? 0 : text.charCodeAt(length - 2) !== PAD ? 1 : 2
  const expected = (length / 4) * 3 - padding
  if (length % 4 !== 0 || target.write(text, 0, 'base64') !== expected || text.includes('-') || text.includes('_')) throw failed()
  // The last letter has bits that no byte uses: they are zero.
  if (padding > 0 && !(padding === 1 ? ENDS_TWO_BYTES : ENDS_ONE_BYTE).includes(text[length - 1 - padding] as string)) throw failed()
  return expected
}

/** The one answer to everything that does not open. */
export function failed(): KithError {
  return new KithError('DECRYPT_FAILED')
}
