import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import type { Random } from '../core/random.ts'
import { type EncryptedData, type EncryptedParts, failed, IV_BYTES, MAX_PLAINTEXT_BYTES, SALT_BYTES, TAG_BYTES } from './encrypted-data.ts'

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

/** Draws a nonce and a salt for each encryption. */
export class Draws {
  readonly #random: Random
  readonly #bytes: Buffer = Buffer.alloc(DRAWN * DRAW_BYTES)
  #at: number = DRAWN * DRAW_BYTES

  constructor(random: Random) {
    this.#random = random
  }

  /** Nonce and salt side by side; to be used before the next draw. */
  next(): Buffer {
    if (this.#at === this.#bytes.length) {
      this.#random.fill(this.#bytes)
      this.#at = 0
    }
    const drawn = this.#bytes.subarray(this.#at, this.#at + DRAW_BYTES)
    this.#at += DRAW_BYTES
    return drawn
  }
}

/** @throws TypeError for an empty plaintext or one beyond 1 MiB. */
export function encryptWith(key: KeyObject, version: number, plaintext: Uint8Array, drawn: Buffer): EncryptedData {
  if (plaintext.length < 1 || plaintext.length > MAX_PLAINTEXT_BYTES) throw new TypeError(`1 to ${MAX_PLAINTEXT_BYTES} bytes can be encrypted`)
  const iv = drawn.subarray(0, IV_BYTES)
  const salt = drawn.subarray(IV_BYTES)
  const cipher = createCipheriv(CIPHER, key, iv)
  cipher.setAAD(associated(version, salt))
  const sealed = Buffer.allocUnsafe(plaintext.length + TAG_BYTES)
  cipher.update(plaintext).copy(sealed)
  cipher.final()
  cipher.getAuthTag().copy(sealed, plaintext.length)
  return { key_version: version, salt: salt.toString('base64'), iv: iv.toString('base64'), data: sealed.toString('base64') }
}

/** @throws KithError `DECRYPT_FAILED`. */
export function decryptWith(key: KeyObject, { version, salt, iv, sealed }: EncryptedParts): Buffer {
  return open(key, iv, sealed, associated(version, salt))
}

/** Opens AES-256-GCM. Nothing of the text is given away before its tag was checked. @throws KithError `DECRYPT_FAILED`. */
export function open(key: KeyObject | Uint8Array, iv: Uint8Array, sealed: Buffer, associatedData?: Buffer): Buffer {
  const decipher = createDecipheriv(CIPHER, key, iv)
  const end = sealed.length - TAG_BYTES
  decipher.setAuthTag(sealed.subarray(end))
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

function associated(version: number, salt: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(LABEL.length + 4 + SALT_BYTES)
  LABEL.copy(bytes)
  bytes.writeUInt32BE(version, LABEL.length)
  bytes.set(salt, LABEL.length + 4)
  return bytes
}
