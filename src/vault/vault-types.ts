import type { Clock } from '../core/clock.ts'
import type { Random } from '../core/random.ts'
import type { Secret } from '../core/secret.ts'
import type { KeyType } from './key-cache.ts'
import type { PathClass } from './paths.ts'

/** One use of a derived key: who asked, what for, when. Never the path itself, never material. */
export interface DerivationEvent {
  readonly vault: string
  /** As the caller named itself: a DID, `owner`, `node`, a service. */
  readonly who: string
  readonly class: PathClass
  readonly type: KeyType
  /** Unix ms. */
  readonly timeMs: number
  /** Whether the key was still held from an earlier derivation. */
  readonly cached: boolean
}

export interface VaultOptions {
  readonly clock: Clock
  /** For phrases, nonces and salts. Default: the system's. */
  readonly random?: Random
  /** Told of every derivation that somebody asked for. Must not throw. */
  readonly audit?: (event: DerivationEvent) => void
  /** Told of what a listener of `onLock` throws. */
  readonly onFailure?: (error: unknown) => void
  /** Names the vault in audit events. Default `default`. */
  readonly id?: string
  /** Locks after this many ms without use; 0 never does. Asked again at each use, so a setting may change. Default 3,600,000. */
  readonly idleLockMs?: number | (() => number)
  /** Version of the key that encrypts, from 2 on. Default 2. */
  readonly keyVersion?: number
}

export interface UnlockOptions {
  /** The recovery phrase. A string cannot be wiped: give a `Secret` where there is one. Stays the caller's. */
  readonly phrase: Secret | string
  /** BIP39's optional extra word, UTF-8. None and empty are the same. Stays the caller's. */
  readonly passphrase?: Secret
}

export interface DeriveOptions {
  /** Default: by the path, `secp256k1` below m/44'/60', `aes256` below m/74'/2'/0', else `ed25519`. */
  readonly type?: KeyType
  /** Who asks, for the audit. Default `owner`. */
  readonly who?: string
}

export interface SitePasswordOptions {
  /** 1 is the first; the next one replaces a password that became known. */
  readonly version?: number
  /** 12 to 64 characters. Default 24. */
  readonly length?: number
  readonly who?: string
}

export type LockReason = 'asked' | 'idle'

export interface VaultStatus {
  readonly id: string
  readonly unlocked: boolean
  /** Unix ms of the unlocking and of the last use; null while locked. */
  readonly sinceMs: number | null
  readonly usedMs: number | null
  /** When it locks by itself unless it is used before; null while locked or never. */
  readonly locksAtMs: number | null
  readonly cachedKeys: number
  /** Keys that were asked for since it was unlocked. */
  readonly derivations: number
}
