import { Decrypter, Encrypter } from 'age-encryption'
import { utf8 } from '../core/bytes.ts'
import { TAG_BYTES } from '../core/crypto/aead.ts'
import { chachaOpen, chachaSeal } from '../core/crypto/chacha.ts'
import { hkdfSha256 } from '../core/crypto/hash.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import { DEFAULT_WORK_FACTOR, ScryptIdentity, ScryptRecipient } from './age-scrypt.ts'

/**
 * # age files sealed by a passphrase
 *
 * ```text
 * age-encryption.org/v1
 * -> scrypt <salt> <log2 N>                      header: written and parsed by the age library, authenticated by its MAC
 * <wrapped file key>
 * --- <MAC>
 * nonce(16) || chunks of 64 KiB + 16             payload key = HKDF-SHA-256(file key, nonce, "payload")
 *                                                chunk nonce = u88 counter || u8 (1 on the last chunk)
 * ```
 *
 * The payload goes straight between guarded memory and the file's bytes, so that what is sealed never lies in ordinary memory; the library, which works on
 * ordinary arrays, sees the header only. The files are plain age: `age -d` opens them with the passphrase.
 */
const CHUNK_BYTES = 64 * 1024
const NONCE_BYTES = 16
const HEADER_END = Buffer.from('\n--- ')
/** Ours has some 200 bytes; bounds the search for the end of a foreign one. */
const MAX_HEADER_BYTES = 4096
const MAX_PLAINTEXT_BYTES = 1 << 20
export const MAX_AGE_FILE_BYTES: number = MAX_HEADER_BYTES + NONCE_BYTES + MAX_PLAINTEXT_BYTES + 17 * TAG_BYTES

export interface SealOptions {
  readonly random: Random
  /** log2 of scrypt's N. Default 18; tests use less. */
  readonly workFactor?: number
}

/** Seals 1 byte to 1 MiB. Takes about 0.6 s with the default work factor, off the event loop. */
export async function sealAge(plaintext: Secret, passphrase: Secret, options: SealOptions): Promise<Uint8Array> {
  const recipient = new ScryptRecipient(passphrase, options.workFactor ?? DEFAULT_WORK_FACTOR, options.random)
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  // The library writes the header for an empty payload (nonce and one empty chunk), which is then replaced.
  const empty = await encrypter.encrypt(new Uint8Array(0))
  recipient.libraryKey?.fill(0)
  const fileKey = recipient.fileKey as Secret
  const header = empty.subarray(0, empty.length - NONCE_BYTES - TAG_BYTES)
  const nonce = options.random.bytes(NONCE_BYTES)
  const payloadKey = payloadKeyOf(fileKey, nonce)
  fileKey.wipe()
  const chunks = Math.ceil(plaintext.length / CHUNK_BYTES)
  const file = new Uint8Array(header.length + NONCE_BYTES + plaintext.length + chunks * TAG_BYTES)
  file.set(header)
  file.set(nonce, header.length)
  payloadKey.use((key) =>
    plaintext.use((bytes) => {
      for (let chunk = 0; chunk < chunks; chunk++) {
        const piece = bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES)
        const at = header.length + NONCE_BYTES + chunk * (CHUNK_BYTES + TAG_BYTES)
        chachaSeal(key, chunkNonce(chunk, chunk === chunks - 1), piece, file.subarray(at))
      }
    }),
  )
  payloadKey.wipe()
  return file
}

/**
 * Opens a file. `intact` is what is known of the file's bytes from elsewhere (its checksum): with it a wrong passphrase and damage are told apart.
 * @throws KithError `PASSPHRASE_WRONG`, `KEYSTORE_DAMAGED`, `KEYSTORE_UNSUPPORTED`.
 */
export async function openAge(file: Uint8Array, passphrase: Secret, intact?: boolean): Promise<Secret> {
  if (file.length > MAX_AGE_FILE_BYTES) throw damaged('it is too long')
  const headerBytes = headerLength(file)
  if (headerBytes === undefined) throw damaged('it is not an age file')
  const identity = new ScryptIdentity(passphrase)
  const decrypter = new Decrypter()
  decrypter.addIdentity(identity)
  let fileKey: Secret
  try {
    fileKey = Secret.take(await decrypter.decryptHeader(file.slice(0, headerBytes)))
  } catch (error) {
    if (intact === false) throw damaged('its bytes changed', error)
    if (isKithError(error)) throw error
    // A key that opened while the header's MAC does not match proves the passphrase right and the header wrong.
    if (identity.refused) throw new KithError('PASSPHRASE_WRONG', undefined, { details: { checked: intact === true } })
    throw damaged('its header does not verify', error)
  }
  const payloadKey = payloadKeyOf(fileKey, file.subarray(headerBytes, headerBytes + NONCE_BYTES))
  fileKey.wipe()
  try {
    return openPayload(payloadKey, file.subarray(headerBytes + NONCE_BYTES))
  } finally {
    payloadKey.wipe()
  }
}

function openPayload(payloadKey: Secret, payload: Uint8Array): Secret {
  const chunks = Math.ceil(payload.length / (CHUNK_BYTES + TAG_BYTES))
  const length = payload.length - chunks * TAG_BYTES
  if (length < 1 || payload.length - (chunks - 1) * (CHUNK_BYTES + TAG_BYTES) <= TAG_BYTES) throw damaged('it ends too early')
  const plaintext = Secret.alloc(length)
  let opened = true
  payloadKey.use((key) =>
    plaintext.fill((target) => {
      for (let chunk = 0; chunk < chunks && opened; chunk++) {
        const at = chunk * (CHUNK_BYTES + TAG_BYTES)
        const sealed = payload.subarray(at, at + CHUNK_BYTES + TAG_BYTES)
        opened = chachaOpen(key, chunkNonce(chunk, chunk === chunks - 1), sealed, target.subarray(chunk * CHUNK_BYTES))
      }
    }),
  )
  if (opened) return plaintext
  plaintext.wipe()
  throw damaged('its content does not verify')
}

function headerLength(file: Uint8Array): number | undefined {
  const head = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, MAX_HEADER_BYTES))
  const mac = head.indexOf(HEADER_END)
  if (mac < 0) return undefined
  const end = head.indexOf(0x0a, mac + HEADER_END.length)
  return end < 0 || file.length < end + 1 + NONCE_BYTES ? undefined : end + 1
}

function payloadKeyOf(fileKey: Secret, nonce: Uint8Array): Secret {
  return Secret.take(fileKey.use((bytes) => hkdfSha256(bytes, nonce, utf8('payload'), 32)))
}

/** 11-byte big-endian counter and the last-chunk flag. */
function chunkNonce(chunk: number, last: boolean): Uint8Array {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(chunk, 7)
  nonce[11] = last ? 1 : 0
  return nonce
}

function damaged(reason: string, cause?: unknown): KithError {
  return new KithError('KEYSTORE_DAMAGED', `the keystore file is damaged: ${reason}`, {
    details: { reason },
    next: 'put back a copy of the file, or restore the identity from its phrase: kith init --restore',
    cause,
  })
}
