import { pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import type { Secret } from '../core/secret.ts'
import { type EncryptedData, failed, fromBase64, IV_BYTES, MAX_DATA_CHARS, PASSWORD_VERSION, TAG_BYTES, versionOf } from './encrypted-data.ts'
import { open } from './encrypted-data-v2.ts'

/**
 * # EncryptedData, version 1
 *
 * The form of a predecessor that made its key from a password: PBKDF2-HMAC-SHA-256 over the salt, 100,000 rounds, 32 bytes; AES-256-GCM without
 * associated data. It is read, so that it can be encrypted anew with a key of the vault, and never written.
 */
const ROUNDS = 100_000
const KEY_BYTES = 32
const MIN_SALT_BYTES = 8
const MAX_SALT_CHARS = 88
const IV_CHARS = 16
const derive = promisify(pbkdf2)

/** The text of a version 1 form; the caller zeroes it. The password stays the caller's. @throws KithError `DECRYPT_FAILED`. */
export async function decryptWithPassword(data: EncryptedData, password: Secret): Promise<Buffer> {
  if (versionOf(data) !== PASSWORD_VERSION) throw failed()
  const salt = fromBase64(data.salt, MAX_SALT_CHARS)
  const iv = fromBase64(data.iv, IV_CHARS)
  const sealed = fromBase64(data.data, MAX_DATA_CHARS)
  if (salt.length < MIN_SALT_BYTES || iv.length !== IV_BYTES || sealed.length <= TAG_BYTES) throw failed()
  const copy = password.use((bytes) => Buffer.from(bytes))
  let key: Buffer | undefined
  try {
    key = await derive(copy, salt, ROUNDS, KEY_BYTES, 'sha256')
    return open(key, iv, sealed, sealed.length)
  } finally {
    copy.fill(0)
    key?.fill(0)
  }
}
