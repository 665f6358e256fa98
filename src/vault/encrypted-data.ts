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

/** The same as bytes; `sealed` is ciphertext and tag. */
export interface EncryptedParts {
  readonly version: number
  readonly salt: Buffer
  readonly iv: Buffer
  readonly sealed: Buffer
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
const MAX_DATA_CHARS = Math.ceil((MAX_PLAINTEXT_BYTES + TAG_BYTES) / 3) * 4
const MAX_SALT_CHARS = 88
const MIN_LEGACY_SALT_BYTES = 8
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

/** @throws KithError `DECRYPT_FAILED` for a version, length or spelling that no encryption gives. */
export function readEncryptedData({ key_version: version, salt, iv, data }: EncryptedData): EncryptedParts {
  if (!Number.isInteger(version) || version < PASSWORD_VERSION || version > MAX_KEY_VERSION) throw failed()
  const parts = { version, salt: fromBase64(salt, MAX_SALT_CHARS), iv: fromBase64(iv, IV_BYTES * 2), sealed: fromBase64(data, MAX_DATA_CHARS) }
  const saltFits = version === PASSWORD_VERSION ? parts.salt.length >= MIN_LEGACY_SALT_BYTES : parts.salt.length === SALT_BYTES
  if (!saltFits || parts.iv.length !== IV_BYTES || parts.sealed.length <= TAG_BYTES) throw failed()
  return parts
}

/** Decoding ignores what is not base64, so the text must be what its bytes are written as. */
function fromBase64(text: string, maxChars: number): Buffer {
  if (typeof text !== 'string' || text.length > maxChars) throw failed()
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text) throw failed()
  return bytes
}

/** The one answer to everything that does not open. */
export function failed(): KithError {
  return new KithError('DECRYPT_FAILED')
}
