import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import type { Random } from '../core/random.ts'
import { decodeBase64, type EncryptedData, failed, IV_BYTES, MAX_DATA_CHARS, MAX_PLAINTEXT_BYTES, SALT_BYTES, TAG_BYTES } from './encrypted-data.ts'

/**
 * # EncryptedData, versions from 2 on
 *
 * AES-256-GCM by `node:crypto`, from a key object that is kept: it holds the key in OpenSSL's memory, which is cleared when the object goes. Nonces of 96
 * random bits under one key are safe up to 2^32 encryptions (NIST SP 800-38D, 8.3); `rotate` changes the key long before.
 *
 * Left by `node:crypto`: the text of a decryption stands in the buffer that is returned, and in one of the runtime that was freed (`clearTraces`).
 */
const CIPHER = 'aes-256-gcm'
const LABEL = Buffer.from('\x13kith/sealed-data/v2')
/** Nonces and salts are drawn this many at a time; both are public. */
const DRAWN = 64
const DRAW_BYTES = IV_BYTES + SALT_BYTES
/** Pieces of memory that are cleared behind a secret text; more than one, since others may have been freed since. */
const TRACES = 4
/** 12 and 32 bytes in base64. */
const IV_CHARS = 16
const SALT_CHARS = 44

// Public parts of the encryption at hand: views made for each would cost as much as base64.
const iv: Buffer = Buffer.alloc(IV_BYTES)
const tag: Buffer = Buffer.alloc(TAG_BYTES)
const associated: Buffer = Buffer.alloc(LABEL.length + 4 + SALT_BYTES)
const associatedSalt: Buffer = associated.subarray(LABEL.length + 4)
/** Ciphertexts of everyday length are decoded here. */
const SCRATCH_CHARS = 65_536
const scratch: Buffer = Buffer.alloc(SCRATCH_CHARS)
const VERSION_AT: number = LABEL.length
const SALT_AT: number = VERSION_AT + 4
LABEL.copy(associated)

/** Draws a nonce and a salt for each encryption. */
export class Draws {
  readonly #random: Random
  readonly #bytes: Buffer = Buffer.alloc(DRAWN * DRAW_BYTES)
  #at: number = DRAWN * DRAW_BYTES

  constructor(random: Random) {
    this.#random = random
  }

  /** @throws TypeError for an empty plaintext or one beyond 1 MiB. */
  encrypt(key: KeyObject, version: number, plaintext: Uint8Array): EncryptedData {
    const { length } = plaintext
    if (length < 1 || length > MAX_PLAINTEXT_BYTES) throw new TypeError(`1 to ${MAX_PLAINTEXT_BYTES} bytes can be encrypted`)
    const at = this.#next()
    const saltAt = at + IV_BYTES
    const end = saltAt + SALT_BYTES
    this.#bytes.copy(iv, 0, at, saltAt)
    this.#bytes.copy(associated, SALT_AT, saltAt, end)
    associated.writeUInt32BE(version, VERSION_AT)
    const cipher = createCipheriv(CIPHER, key, iv)
    cipher.setAAD(associated)
    const sealed = Buffer.allocUnsafe(length + TAG_BYTES)
    cipher.update(plaintext).copy(sealed)
    cipher.final()
    cipher.getAuthTag().copy(sealed, length)
    return {
      key_version: version,
      salt: this.#bytes.toString('base64', saltAt, end),
      iv: this.#bytes.toString('base64', at, saltAt),
      data: sealed.toString('base64'),
    }
  }

  /** Where nonce and salt stand side by side. */
  #next(): number {
    if (this.#at === this.#bytes.length) {
      this.#random.fill(this.#bytes)
      this.#at = 0
    }
    const at = this.#at
    this.#at += DRAW_BYTES
    return at
  }
}

/** @throws KithError `DECRYPT_FAILED`. */
export function decryptWith(key: KeyObject, form: EncryptedData): Buffer {
  const { key_version: version, salt, iv: nonce, data } = form
  if (typeof nonce !== 'string' || nonce.length !== IV_CHARS || typeof salt !== 'string' || salt.length !== SALT_CHARS) throw failed()
  if (typeof data !== 'string' || data.length > MAX_DATA_CHARS) throw failed()
  const target = data.length <= SCRATCH_CHARS ? scratch : Buffer.alloc((data.length / 4) * 3 + 3)
  const length = decodeBase64(data, target)
  if (length <= TAG_BYTES || decodeBase64(nonce, iv) !== IV_BYTES || decodeBase64(salt, associatedSalt) !== SALT_BYTES) throw failed()
  associated.writeUInt32BE(version, VERSION_AT)
  return open(key, iv, target, length, associated)
}

/** Opens AES-256-GCM: ciphertext and tag are the first `length` bytes of `sealed`. Nothing of the text is given away before its tag was checked. @throws KithError `DECRYPT_FAILED`. */
export function open(key: KeyObject | Uint8Array, nonce: Uint8Array, sealed: Buffer, length: number, associatedData?: Buffer): Buffer {
  const decipher = createDecipheriv(CIPHER, key, nonce)
  const end = length - TAG_BYTES
  for (let i = 0; i < TAG_BYTES; i++) tag[i] = sealed[end + i] as number
  decipher.setAuthTag(tag)
  if (associatedData !== undefined) decipher.setAAD(associatedData)
  const plaintext = decipher.update(sealed.subarray(0, end))
  try {
    decipher.final()
  } catch {
    plaintext.fill(0)
    throw failed()
  }
  return plaintext
}

/**
 * `update` of a cipher writes into memory one byte longer than its result, copies, and frees it with the text inside. Asked for as much right away, the
 * allocator gives that piece out again, and it can be cleared. A test searches the memory for texts of every size.
 */
export function clearTraces(length: number): void {
  const pieces = Array.from({ length: TRACES }, () => Buffer.allocUnsafeSlow(length + 1))
  for (const piece of pieces) piece.fill(0)
}
