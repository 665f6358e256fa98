import sodium from 'sodium-native'
import { KithError } from '../errors.ts'
import type { KeyLease } from '../key-slab.ts'
import type { Secret } from '../secret.ts'

/** Bytes that ChaCha20-Poly1305 (RFC 8439) adds to a message: the tag. */
export const TAG_BYTES = 16
const NONCE_BYTES = 12

/**
 * ChaCha20-Poly1305 for one direction of a stream of records: no associated data, nonce = number of the record, 96 bits little-endian from 0.
 * Owns its key; nothing is allocated per record but the views that libsodium asks for.
 */
export class RecordCipher {
  readonly #key: KeyLease
  readonly #nonce: Buffer = Buffer.alloc(NONCE_BYTES)
  #wiped = false

  constructor(key: KeyLease) {
    this.#key = key
  }

  /**
   * Seals `message[start, end)` into `target` from `at` on: ciphertext, then tag. In place when both name the same bytes.
   * @throws TypeError after `wipe`.
   */
  seal(target: Buffer, at: number, message: Uint8Array, start: number, end: number): void {
    if (this.#wiped) throw new TypeError('the cipher was wiped')
    const sealed = target.subarray(at, at + end - start + TAG_BYTES)
    sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, message.subarray(start, end), null, null, this.#nonce, this.#key.bytes)
    this.#advance()
  }

  /**
   * Opens `record[start, end)` (ciphertext and tag) in place: the message is `record[start, end - 16)` afterwards.
   * False when the tag does not match or the record is too short; the number of the record is spent in any case.
   */
  open(record: Buffer, start: number, end: number): boolean {
    if (this.#wiped) throw new TypeError('the cipher was wiped')
    let opened = false
    if (end - start >= TAG_BYTES) {
      const sealed = record.subarray(start, end)
      try {
        sodium.crypto_aead_chacha20poly1305_ietf_decrypt(record.subarray(start, end - TAG_BYTES), null, sealed, null, this.#nonce, this.#key.bytes)
        opened = true
      } catch {
        opened = false
      }
    }
    this.#advance()
    return opened
  }

  /** Zeroes the key and gives its memory back. Idempotent. */
  wipe(): void {
    this.#wiped = true
    this.#key.release()
  }

  #advance(): void {
    const nonce = this.#nonce
    for (let i = 0; i < NONCE_BYTES; i++) {
      const next = ((nonce[i] as number) + 1) & 0xff
      nonce[i] = next
      if (next !== 0) return
    }
    // 2^96 records have been sealed: a further one would repeat a nonce.
    this.wipe()
  }
}

const NO_NONCE: Uint8Array = new Uint8Array(NONCE_BYTES)

/**
 * ChaCha20-Poly1305 (RFC 8439) for a key that seals one message in its life, or with a nonce that never repeats: ciphertext, then tag.
 * @throws KithError `SECRET_WIPED`.
 */
export function sealOnce(key: Secret, associated: Uint8Array, message: Uint8Array, nonce: Uint8Array = NO_NONCE): Uint8Array {
  const sealed = new Uint8Array(message.length + TAG_BYTES)
  key.use((bytes) => sodium.crypto_aead_chacha20poly1305_ietf_encrypt(sealed, message, associated, null, nonce, bytes))
  return sealed
}

/** `undefined` when the tag does not match. @throws KithError `SECRET_WIPED`. */
export function openOnce(key: Secret, associated: Uint8Array, sealed: Uint8Array, nonce: Uint8Array = NO_NONCE): Uint8Array | undefined {
  if (sealed.length < TAG_BYTES) return undefined
  const message = new Uint8Array(sealed.length - TAG_BYTES)
  try {
    key.use((bytes) => sodium.crypto_aead_chacha20poly1305_ietf_decrypt(message, null, sealed, associated, nonce, bytes))
    return message
  } catch (error) {
    if (error instanceof KithError) throw error
    return undefined
  }
}
