import { createSecretKey, type KeyObject } from 'node:crypto'
import type { PublicKey } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { forgetKeysSoon } from '../core/crypto/forget-keys.ts'
import type { Secret } from '../core/secret.ts'

/** What kind of key stands at a path. The same path gives another key for each curve. */
export type KeyType = 'ed25519' | 'secp256k1' | 'aes256'

/**
 * A key of the vault. The private half belongs to the vault, which wipes it an hour after it was derived, when other keys need its place, and when it locks:
 * use it at once, or `clone()` it. It has no text form.
 */
export interface DerivedKey {
  readonly path: string
  readonly type: KeyType
  /** 32 bytes: an RFC 8032 seed, a scalar of secp256k1, or an AES-256 key. */
  readonly privateKey: Secret
  /** Ed25519: 32 bytes; secp256k1: 33 bytes, compressed; a symmetric key has none. Not to be written to. */
  readonly publicKey: PublicKey | Uint8Array | undefined
}

interface Entry {
  readonly name: string
  readonly key: DerivedKey
  readonly until: number
  /** For AES: the key where OpenSSL wants it. */
  object: KeyObject | undefined
}

export const KEY_TTL_MS = 3_600_000
export const MAX_KEYS = 64

/**
 * Derived keys, by type and path: at most 64, the one used longest ago gives way, each for at most an hour. A key is wiped when it leaves, whatever the reason;
 * a timer sees to it that it also leaves when nobody asks.
 */
export class KeyCache {
  readonly #clock: Clock
  readonly #entries: Map<string, Entry> = new Map()
  /** The one that was asked for last stands at the end already. */
  #newest: string | undefined
  #encrypting: Entry | undefined
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#entries.size
  }

  get(type: KeyType, path: string): DerivedKey | undefined {
    return this.#find(nameOf(type, path))?.key
  }

  /** Takes ownership of the key's private half. */
  set(key: DerivedKey): void {
    const name = nameOf(key.type, key.path)
    this.#drop(name)
    this.#entries.set(name, { name, key, until: this.#clock.monotonic() + KEY_TTL_MS, object: undefined })
    this.#newest = name
    if (this.#entries.size > MAX_KEYS) this.#drop(this.#entries.keys().next().value as string)
    this.#arm()
  }

  /** An AES key as OpenSSL wants it; undefined when it is not here. */
  object(path: string): KeyObject | undefined {
    // Encryptions come in rows with one key: no name is made and looked up for each.
    const last = this.#encrypting
    if (last !== undefined && last.name === this.#newest && last.key.path === path && last.until > this.#clock.monotonic() && !last.key.privateKey.wiped)
      return last.object
    const entry = this.#find(nameOf('aes256', path))
    if (entry === undefined) return undefined
    this.#encrypting = entry
    entry.object ??= entry.key.privateKey.use((bytes) => createSecretKey(bytes))
    return entry.object
  }

  /** Wipes everything. */
  clear(): void {
    for (const name of [...this.#entries.keys()]) this.#drop(name)
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #find(name: string): Entry | undefined {
    const entry = this.#entries.get(name)
    if (entry === undefined) return undefined
    if (entry.until <= this.#clock.monotonic() || entry.key.privateKey.wiped) {
      this.#drop(name)
      return undefined
    }
    if (name !== this.#newest) {
      this.#entries.delete(name)
      this.#entries.set(name, entry)
      this.#newest = name
    }
    return entry
  }

  #drop(name: string): void {
    const entry = this.#entries.get(name)
    if (entry === undefined) return
    this.#entries.delete(name)
    if (this.#newest === name) this.#newest = undefined
    if (this.#encrypting === entry) this.#encrypting = undefined
    entry.key.privateKey.wipe()
    if (entry.object === undefined) return
    entry.object = undefined
    forgetKeysSoon()
  }

  /** One timer, for the entry that ends first. */
  #arm(): void {
    if (this.#timer !== undefined || this.#entries.size === 0) return
    const first = Math.min(...[...this.#entries.values()].map(({ until }) => until))
    this.#timer = this.#clock.after(Math.max(0, first - this.#clock.monotonic()), () => {
      this.#timer = undefined
      const now = this.#clock.monotonic()
      for (const [name, { until }] of [...this.#entries]) if (until <= now) this.#drop(name)
      this.#arm()
    })
  }
}

function nameOf(type: KeyType, path: string): string {
  return `${type} ${path}`
}
