import { scrypt } from 'node:crypto'
import { type Identity, type Recipient, Stanza } from 'age-encryption'
import { concat, utf8 } from '../core/bytes.ts'
import { chachaOpen, chachaSeal } from '../core/crypto/chacha.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'

/**
 * The scrypt stanza of an age file (age-encryption.org/v1), computed by `node:crypto` off the event loop.
 *
 * ```text
 * -> scrypt <base64 salt(16)> <log2 N>              wrap key = scrypt(passphrase, "age-encryption.org/v1/scrypt" || salt, N, r = 8, p = 1, 32 bytes)
 * <base64 of ChaCha20-Poly1305(wrap key, nonce 0, file key(16))>
 * ```
 */
const SALT_LABEL = utf8('age-encryption.org/v1/scrypt')
const SALT_BYTES = 16
const WRAPPED_BYTES = 32
const NONCE = new Uint8Array(12)

/** Written: about 0.6 s and 256 MiB for every opening and every guess. */
export const DEFAULT_WORK_FACTOR = 18
/** Read: 1 GiB; anything beyond is refused before it is computed. */
export const MAX_WORK_FACTOR = 20

/** scrypt needs 1 KiB x 2^work factor: this process computes one at a time, in order. */
let turn: Promise<unknown> = Promise.resolve()

function deriveKey(passphrase: Secret, salt: Uint8Array, workFactor: number): Promise<Secret> {
  const N = 2 ** workFactor
  const job = (): Promise<Secret> =>
    new Promise((resolve, reject) => {
      // node:crypto copies the passphrase before this call returns, and clears its copy when the job is done.
      passphrase.use((bytes) => {
        scrypt(bytes, concat(SALT_LABEL, salt), 32, { N, r: 8, p: 1, maxmem: N * 1024 + 2 ** 21 }, (error, key) => {
          if (error === null) resolve(Secret.take(key))
          else reject(error)
        })
      })
    })
  const result = turn.then(job)
  turn = result.catch(() => undefined)
  return result
}

/** Wraps the file key and keeps a copy of it in guarded memory, for the payload. */
export class ScryptRecipient implements Recipient {
  readonly #passphrase: Secret
  readonly #workFactor: number
  readonly #random: Random
  /** The library's own array, to be zeroed when it is done. */
  libraryKey: Uint8Array | undefined
  fileKey: Secret | undefined

  constructor(passphrase: Secret, workFactor: number, random: Random) {
    this.#passphrase = passphrase
    this.#workFactor = workFactor
    this.#random = random
  }

  async wrapFileKey(fileKey: Uint8Array): Promise<Stanza[]> {
    this.libraryKey = fileKey
    this.fileKey = Secret.take(Uint8Array.from(fileKey))
    const salt = this.#random.bytes(SALT_BYTES)
    const key = await deriveKey(this.#passphrase, salt, this.#workFactor)
    const body = new Uint8Array(WRAPPED_BYTES)
    key.use((bytes) => chachaSeal(bytes, NONCE, fileKey, body))
    key.wipe()
    return [new Stanza(['scrypt', base64(salt), String(this.#workFactor)], body)]
  }
}

/** Unwraps the file key. `refused` tells afterwards that the stanza was sound and the key in it did not open. */
export class ScryptIdentity implements Identity {
  readonly #passphrase: Secret
  refused = false

  constructor(passphrase: Secret) {
    this.#passphrase = passphrase
  }

  /** @throws KithError `KEYSTORE_UNSUPPORTED` for other stanzas or a work factor beyond 20. */
  async unwrapFileKey(stanzas: Stanza[]): Promise<Uint8Array | null> {
    const [stanza] = stanzas
    if (stanza === undefined || stanzas.length !== 1 || stanza.args[0] !== 'scrypt') throw unsupported('it is not sealed by a passphrase alone')
    const [, saltText = '', factorText = ''] = stanza.args
    const salt = new Uint8Array(Buffer.from(saltText, 'base64'))
    if (stanza.args.length !== 3 || salt.length !== SALT_BYTES || base64(salt) !== saltText || stanza.body.length !== WRAPPED_BYTES)
      throw unsupported('its header is not understood')
    if (!/^[1-9][0-9]?$/.test(factorText)) throw unsupported('its header is not understood')
    const workFactor = Number(factorText)
    if (workFactor > MAX_WORK_FACTOR) throw unsupported(`its work factor ${workFactor} is above ${MAX_WORK_FACTOR}`)
    const key = await deriveKey(this.#passphrase, salt, workFactor)
    const fileKey = new Uint8Array(WRAPPED_BYTES - 16)
    const opened = key.use((bytes) => chachaOpen(bytes, NONCE, stanza.body, fileKey))
    key.wipe()
    this.refused = !opened
    return opened ? fileKey : null
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '')
}

function unsupported(reason: string): KithError {
  return new KithError('KEYSTORE_UNSUPPORTED', `this file cannot be opened: ${reason}`, { details: { reason } })
}
