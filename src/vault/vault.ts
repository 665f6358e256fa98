import type { KeyObject } from 'node:crypto'
import type { Clock, Timer } from '../core/clock.ts'
import { createSigner, publicKeyOfSeed } from '../core/crypto/ed25519.ts'
import { KithError } from '../core/errors.ts'
import { systemRandom } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import type { Signer } from '../core/signer.ts'
import { deriveSecp256k1 } from './bip32.ts'
import { generatePhrase, parsePhrase, phraseToSeed } from './bip39.ts'
import { type EncryptedData, FIRST_KEY_VERSION, PASSWORD_VERSION, versionOf } from './encrypted-data.ts'
import { decryptWithPassword } from './encrypted-data-v1.ts'
import { clearTraces, Draws, decryptWith } from './encrypted-data-v2.ts'
import { type DerivedKey, KeyCache, type KeyType } from './key-cache.ts'
import { encryptionKeyPath, type PathClass, pathClass, sitePasswordPath } from './paths.ts'
import { publicKeyOfScalar } from './secp256k1.ts'
import { DEFAULT_PASSWORD_LENGTH, passwordOf, siteName } from './site-password.ts'
import { deriveEd25519 } from './slip10.ts'
import type { DeriveOptions, LockReason, SitePasswordOptions, UnlockOptions, VaultOptions, VaultStatus } from './vault-types.ts'

const DEFAULT_IDLE_MS = 3_600_000
const DEFAULT_WORDS = 24
/** Signers given out and not closed; each holds a page of locked memory. */
const MAX_SIGNERS = 64
const DEFAULT_TYPES: Partial<Readonly<Record<PathClass, KeyType>>> = { ethereum: 'secp256k1', encryption: 'aes256' }

/**
 * One recovery phrase, opened: everything that is derived from it comes from here.
 *
 * ```text
 *           unlock / unlockNew                       derive  sitePassword  signer  encrypt  decrypt  rotate
 * locked ----------------------> unlocked: seed  --------------------------------------------------------->  keys of an hour
 *    ^                              |
 *    `-- lock, idle, close ---------'      wipes seed, keys and signers, then tells the listeners
 * ```
 *
 * The phrase itself is not kept: the seed is enough. While locked every operation is `VAULT_LOCKED`.
 */
export class Vault implements Disposable {
  readonly id: string
  readonly #options: VaultOptions
  readonly #clock: Clock
  readonly #cache: KeyCache
  readonly #draws: Draws
  readonly #signers: Set<Signer> = new Set()
  readonly #listeners: Set<(reason: LockReason) => void> = new Set()
  #seed: Secret | undefined
  #timer: Timer | undefined
  /** Where the key used last stands. */
  #encryption = { version: 0, path: '' }
  #derivations = 0
  #sinceMs = 0
  /** Of the last use: monotonic, and by the wall, which goes on while the machine sleeps. */
  #used = 0
  #usedMs = 0

  constructor(options: VaultOptions) {
    const version = options.keyVersion ?? FIRST_KEY_VERSION
    encryptionKeyPath(version)
    this.id = options.id ?? 'default'
    this.#options = { ...options, keyVersion: version }
    this.#clock = options.clock
    this.#cache = new KeyCache(options.clock)
    this.#draws = new Draws(options.random ?? systemRandom)
  }

  get unlocked(): boolean {
    this.#lockIfIdle()
    return this.#seed !== undefined
  }

  /** Opens the vault with an existing phrase. @throws KithError `VAULT_UNLOCKED` when it is open, `PHRASE_INVALID`. */
  async unlock({ phrase, passphrase }: UnlockOptions): Promise<void> {
    this.#mustBeLocked()
    const canonical = parsePhrase(phrase)
    try {
      this.#open(canonical, passphrase)
    } finally {
      canonical.wipe()
    }
  }

  /** Opens the vault with a new phrase, which the caller shows or seals, and wipes. @throws KithError `VAULT_UNLOCKED`, `PHRASE_INVALID` for a number of words. */
  async unlockNew(words: number = DEFAULT_WORDS, passphrase?: Secret): Promise<Secret> {
    this.#mustBeLocked()
    const phrase = generatePhrase(words, this.#options.random ?? systemRandom)
    try {
      this.#open(phrase, passphrase)
      return phrase
    } catch (error) {
      phrase.wipe()
      throw error
    }
  }

  /** Wipes the seed, all keys and all signers. Idempotent. */
  lock(): void {
    this.#lock('asked')
  }

  status(): VaultStatus {
    const unlocked = this.unlocked
    const idle = this.#idleMs()
    return {
      id: this.id,
      unlocked,
      sinceMs: unlocked ? this.#sinceMs : null,
      usedMs: unlocked ? this.#usedMs : null,
      locksAtMs: unlocked && idle > 0 ? this.#usedMs + idle : null,
      cachedKeys: this.#cache.size,
      derivations: this.#derivations,
    }
  }

  /** Calls `listener` after every locking. Returns the way to stop. */
  onLock(listener: (reason: LockReason) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * The key at a path. Its private half stays the vault's.
   * @throws KithError `VAULT_LOCKED`, `PATH_INVALID`.
   */
  derive(path: string, options: DeriveOptions = {}): DerivedKey {
    this.#use()
    const type = options.type ?? DEFAULT_TYPES[pathClass(path)] ?? 'ed25519'
    const held = this.#cache.get(type, path)
    const key = held ?? this.#derive(path, type)
    this.#note(path, type, options.who, held !== undefined)
    return key
  }

  /**
   * Signs with the Ed25519 key of a path, until it is closed or the vault locks. A key of the identity signs what an identity signs, any other path is a
   * key of its own for one foreign protocol. The caller closes it.
   * @throws KithError `VAULT_LOCKED`, `PATH_INVALID`; TypeError for the 65th at once.
   */
  signer(path: string, options: Pick<DeriveOptions, 'who'> = {}): Signer {
    this.#use()
    if (this.#signers.size >= MAX_SIGNERS) throw new TypeError(`a vault gives ${MAX_SIGNERS} signers at a time; close some`)
    const inner = createSigner(pathClass(path) === 'identity' ? 'identity' : 'service', deriveEd25519(this.#seedInUse(), path))
    this.#note(path, 'ed25519', options.who, false)
    const { role, publicKey } = inner
    const signer: Signer = {
      role,
      publicKey,
      sign: (message) => {
        this.#use()
        return inner.sign(message)
      },
      close: () => {
        inner.close()
        this.#signers.delete(signer)
      },
    }
    this.#signers.add(signer)
    return signer
  }

  /** The password of a site as UTF-8; the caller wipes it. @throws KithError `VAULT_LOCKED`, `USAGE` for no name of a site; TypeError. */
  sitePassword(site: string, options: SitePasswordOptions = {}): Secret {
    const seed = this.#seedInUse()
    const name = siteName(site)
    const path = sitePasswordPath(name, options.version)
    // Passwords are not held: what asks for one asks rarely.
    const key = deriveEd25519(seed, path)
    try {
      const password = passwordOf(key, name, options.length ?? DEFAULT_PASSWORD_LENGTH)
      this.#note(path, 'ed25519', options.who, false)
      return password
    } finally {
      key.wipe()
    }
  }

  /** Encrypts with the key of a version, by default the vault's. @throws KithError `VAULT_LOCKED`; TypeError for nothing or more than 1 MiB. */
  encrypt(plaintext: Uint8Array | Secret, version: number = this.#version): EncryptedData {
    this.#use()
    const key = this.#encryptionKey(version)
    if (plaintext instanceof Secret) return plaintext.use((bytes) => this.#draws.encrypt(key, version, bytes))
    return this.#draws.encrypt(key, version, plaintext)
  }

  /**
   * The text, in ordinary memory: for what is not worth guarding, else `decryptSecret`.
   * @throws KithError `VAULT_LOCKED`; `DECRYPT_FAILED` for everything that does not open; `UNSUPPORTED` for version 1, which `importEncrypted` reads.
   */
  decrypt(data: EncryptedData): Uint8Array {
    this.#use()
    const version = versionOf(data)
    if (version === PASSWORD_VERSION)
      throw new KithError('UNSUPPORTED', 'Version 1 was encrypted with a password: import it with that.', { next: 'kith vault rotate --password-file FILE' })
    return decryptWith(this.#encryptionKey(version), data)
  }

  /** The text in guarded memory, which the caller wipes. @throws as `decrypt`. */
  decryptSecret(data: EncryptedData): Secret {
    const plaintext = this.decrypt(data)
    try {
      return Secret.take(plaintext)
    } finally {
      clearTraces(plaintext.length)
    }
  }

  /** Encrypts anew, with the same or a later key. Storing the result is the caller's. @throws as `decrypt`; TypeError for an earlier version. */
  rotate(data: EncryptedData, version: number = Math.max(this.#version, data.key_version)): EncryptedData {
    const plaintext = this.decrypt(data)
    try {
      if (version < data.key_version) throw new TypeError(`a rotation does not go back from key version ${data.key_version}`)
      return this.encrypt(plaintext, version)
    } finally {
      plaintext.fill(0)
      clearTraces(plaintext.length)
    }
  }

  /** Takes over what a predecessor encrypted with a password (version 1). The password stays the caller's. @throws KithError `VAULT_LOCKED`, `DECRYPT_FAILED`. */
  async importEncrypted(data: EncryptedData, password: Secret): Promise<EncryptedData> {
    this.#use()
    const plaintext = await decryptWithPassword(data, password)
    try {
      return this.encrypt(plaintext)
    } finally {
      plaintext.fill(0)
      clearTraces(plaintext.length)
    }
  }

  [Symbol.dispose](): void {
    this.lock()
  }

  get #version(): number {
    return this.#options.keyVersion as number
  }

  #mustBeLocked(): void {
    if (this.unlocked) throw new KithError('VAULT_UNLOCKED', undefined, { details: { vault: this.id } })
  }

  #open(phrase: Secret, passphrase: Secret | undefined): void {
    this.#seed = phraseToSeed(phrase, passphrase)
    this.#derivations = 0
    this.#sinceMs = this.#clock.now()
    this.#usedMs = this.#sinceMs
    this.#used = this.#clock.monotonic()
    this.#watch(this.#idleMs())
  }

  #lock(reason: LockReason): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#seed === undefined) return
    this.#seed.wipe()
    this.#seed = undefined
    this.#cache.clear()
    for (const signer of [...this.#signers]) signer.close()
    for (const listener of [...this.#listeners]) {
      try {
        listener(reason)
      } catch (error) {
        // Everything is wiped; one listener does not keep the others from hearing of it.
        this.#options.onFailure?.(error)
      }
    }
  }

  /** The seed, for a use that counts as one. @throws KithError `VAULT_LOCKED`. */
  #seedInUse(): Secret {
    this.#use()
    return this.#seed as Secret
  }

  #use(): void {
    const monotonic = this.#clock.monotonic()
    const now = this.#clock.now()
    const idle = this.#idleMs()
    if (this.#seed !== undefined && idle > 0 && this.#left(idle, monotonic, now) <= 0) this.#lock('idle')
    if (this.#seed === undefined) throw new KithError('VAULT_LOCKED', undefined, { details: { vault: this.id }, next: 'kith vault unlock' })
    this.#used = monotonic
    this.#usedMs = now
  }

  #idleMs(): number {
    const { idleLockMs = DEFAULT_IDLE_MS } = this.#options
    return typeof idleLockMs === 'number' ? idleLockMs : idleLockMs()
  }

  /** Ms left; by whichever of the two clocks went further, since a machine may sleep and a clock may be set. */
  #left(idle: number, monotonic: number = this.#clock.monotonic(), now: number = this.#clock.now()): number {
    return idle - Math.max(monotonic - this.#used, now - this.#usedMs)
  }

  #lockIfIdle(): void {
    if (this.#seed === undefined) return
    const idle = this.#idleMs()
    if (idle > 0 && this.#left(idle) <= 0) this.#lock('idle')
  }

  /** Looks when it could be time at the earliest. */
  #watch(ms: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(ms > 0 ? ms : DEFAULT_IDLE_MS, () => {
      this.#lockIfIdle()
      if (this.#seed !== undefined) this.#watch(this.#left(this.#idleMs()))
    })
  }

  #derive(path: string, type: KeyType): DerivedKey {
    const seed = this.#seed as Secret
    const privateKey = type === 'secp256k1' ? deriveSecp256k1(seed, path) : deriveEd25519(seed, path)
    const key = { path, type, privateKey, publicKey: publicHalf(type, privateKey) }
    this.#cache.set(key)
    return key
  }

  #encryptionKey(version: number): KeyObject {
    if (this.#encryption.version !== version) this.#encryption = { version, path: encryptionKeyPath(version) }
    const { path } = this.#encryption
    const held = this.#cache.object(path)
    if (held !== undefined) return held
    this.#derive(path, 'aes256')
    this.#note(path, 'aes256', 'vault', false)
    return this.#cache.object(path) as KeyObject
  }

  #note(path: string, type: KeyType, who: string | undefined, cached: boolean): void {
    this.#derivations++
    const { audit } = this.#options
    if (audit === undefined) return
    audit({ vault: this.id, who: who ?? 'owner', class: pathClass(path), type, timeMs: this.#usedMs, cached })
  }
}

function publicHalf(type: KeyType, privateKey: Secret): DerivedKey['publicKey'] {
  if (type === 'ed25519') return publicKeyOfSeed(privateKey)
  return type === 'secp256k1' ? privateKey.use(publicKeyOfScalar) : undefined
}

export function createVault(options: VaultOptions): Vault {
  return new Vault(options)
}
