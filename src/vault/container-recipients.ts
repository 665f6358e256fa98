import { type Identity, type Recipient, Stanza } from 'age-encryption'
import { concat, equal, utf8 } from '../core/bytes.ts'
import { TAG_BYTES } from '../core/crypto/aead.ts'
import { chachaOpen, chachaSeal } from '../core/crypto/chacha.ts'
import { hkdfSha256, sha256 } from '../core/crypto/hash.ts'
import { x25519, x25519PublicKey } from '../core/crypto/x25519.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import { BACKUP } from './paths.ts'
import { deriveEd25519 } from './slip10.ts'

/**
 * The X25519 stanza of an age file (age-encryption.org/v1), with the secret key in guarded memory.
 *
 * ```text
 * -> X25519 <base64 ephemeral(32)>                  wrap key = HKDF-SHA-256(X25519(ephemeral, recipient), salt = ephemeral || recipient, info)
 * <base64 of ChaCha20-Poly1305(wrap key, nonce 0, file key(16))>
 * ```
 *
 * And one of our own, which other programs skip as the format asks of them: it tells a damaged header from a wrong key.
 *
 * ```text
 * -> kith-check <base64 of the first 16 bytes of SHA-256 over the lines of the stanzas before it>
 * <random bytes>
 * ```
 */
const INFO = utf8('age-encryption.org/v1/X25519')
const NONCE = new Uint8Array(12)
const KEY_BYTES = 32
const FILE_KEY_BYTES = 16
const CHECK = 'kith-check'
const CHECK_BYTES = 16
/** Of an age header; bounds the work that a foreign one can ask for. */
const MAX_STANZAS = 64

/** The backup key that belongs to a recovery phrase: an X25519 secret, 32 bytes, at `m/74'/2'/1'/0'` of its BIP39 seed. The caller wipes it. */
export function deriveBackupKey(seed: Secret): Secret {
  return deriveEd25519(seed, BACKUP)
}

/** The X25519 public key of a secret, 32 bytes. */
export function recipientOf(secret: Secret): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  secret.use((bytes) => x25519PublicKey(key, bytes))
  return key
}

/** Wraps file keys for an X25519 public key. */
export class X25519Recipient implements Recipient {
  readonly #key: Uint8Array
  readonly #random: Random

  constructor(key: Uint8Array, random: Random) {
    this.#key = key
    this.#random = random
  }

  wrapFileKey(fileKey: Uint8Array): Stanza[] {
    using ephemeral = Secret.random(KEY_BYTES, this.#random)
    const share = recipientOf(ephemeral)
    const body = new Uint8Array(FILE_KEY_BYTES + TAG_BYTES)
    const wrap = wrapKey(ephemeral, this.#key, share, this.#key)
    if (wrap === undefined)
      throw new KithError('KEY_INVALID', 'the recipient is not a key that anything can be sealed to', {
        next: 'age-keygen -o key.txt (it prints the recipient of a new key)',
      })
    wrap.use((key) => chachaSeal(key, NONCE, fileKey, body))
    wrap.wipe()
    return [new Stanza(['X25519', base64(share)], body)]
  }
}

/** Unwraps file keys with an X25519 secret, which stays the caller's. */
export class X25519Identity implements Identity {
  readonly #secret: Secret
  readonly #public: Uint8Array

  constructor(secret: Secret) {
    this.#secret = secret
    this.#public = recipientOf(secret)
  }

  unwrapFileKey(stanzas: Stanza[]): Uint8Array | null {
    if (stanzas.length > MAX_STANZAS) throw new KithError('BACKUP_INVALID', `its header has more than ${MAX_STANZAS} parts`)
    for (const { args, body } of stanzas) {
      if (args[0] !== 'X25519' || args.length !== 2 || body.length !== FILE_KEY_BYTES + TAG_BYTES) continue
      const share = unbase64(args[1] as string)
      if (share?.length !== KEY_BYTES) continue
      const wrap = wrapKey(this.#secret, share, share, this.#public)
      if (wrap === undefined) continue
      const fileKey = new Uint8Array(FILE_KEY_BYTES)
      const opened = wrap.use((key) => chachaOpen(key, NONCE, body, fileKey))
      wrap.wipe()
      if (opened) return fileKey
    }
    return null
  }
}

/** Adds the check of the stanzas that the recipients before it made; it must be the last. */
export class CheckRecipient implements Recipient {
  readonly #recipients: readonly Recipient[]
  readonly #random: Random
  readonly #made: Stanza[] = []

  constructor(recipients: readonly Recipient[], random: Random) {
    this.#recipients = recipients
    this.#random = random
  }

  /** The recipients to give to the library: each once, and this one. */
  get all(): readonly Recipient[] {
    const recorded = this.#recipients.map((recipient) => ({
      wrapFileKey: async (fileKey: Uint8Array): Promise<Stanza[]> => {
        const stanzas = await recipient.wrapFileKey(fileKey)
        this.#made.push(...stanzas)
        return stanzas
      },
    }))
    return [...recorded, this]
  }

  wrapFileKey(): Stanza[] {
    return [new Stanza([CHECK, base64(checkOf(this.#made))], this.#random.bytes(CHECK_BYTES))]
  }
}

/** Looks at a header before the keys are tried. Gives no key. */
export class CheckIdentity implements Identity {
  /** `undefined` when the header carries no check. */
  intact: boolean | undefined
  /** It opens with a passphrase. */
  passphrase = false

  unwrapFileKey(stanzas: Stanza[]): null {
    const at = stanzas.findIndex(({ args }) => args[0] === CHECK)
    this.passphrase = stanzas.some(({ args }) => args[0] === 'scrypt')
    const stated = unbase64(stanzas[at]?.args[1] ?? '')
    this.intact = at < 0 ? undefined : at === stanzas.length - 1 && stated !== undefined && equal(stated, checkOf(stanzas.slice(0, at)))
    return null
  }
}

function checkOf(stanzas: readonly Stanza[]): Uint8Array {
  const lines = stanzas.map(({ args, body }) => `-> ${args.join(' ')}\n${base64(body)}\n`)
  return sha256(utf8(lines.join(''))).subarray(0, CHECK_BYTES)
}

/** `undefined` when the other key is of low order. */
function wrapKey(secret: Secret, other: Uint8Array, share: Uint8Array, recipient: Uint8Array): Secret | undefined {
  using shared = Secret.alloc(KEY_BYTES)
  let sound = false
  secret.use((bytes) =>
    shared.fill((target) => {
      sound = x25519(target, bytes, other)
    }),
  )
  if (!sound) return undefined
  return Secret.take(shared.use((bytes) => hkdfSha256(bytes, concat(share, recipient), INFO, KEY_BYTES)))
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '')
}

/** One spelling per value. */
function unbase64(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  return base64(bytes) === text ? bytes : undefined
}
