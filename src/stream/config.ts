import { utf8 } from '../core/bytes.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { createSigner, isPublicKey, SEED_BYTES } from '../core/crypto/ed25519.ts'
import { KithError } from '../core/errors.ts'
import { type Random, systemRandom } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import type { Signer } from '../core/signer.ts'
import { KEY_FRAME_BYTES } from './handshake.ts'
import { MAX_MESSAGE_BYTES } from './session.ts'

/** A 32-byte Ed25519 seed, which stays the caller's, or a signer made for the role `link`. */
export type SigningKey = Secret | Signer

export interface StreamConfig {
  /** Our static key. */
  readonly key: SigningKey
  /** Unique to the application: two applications never understand each other's handshakes. Both sides must agree. */
  readonly namespace: string | Uint8Array
  /** Largest message in bytes, both ways; both sides must agree. */
  readonly maxMessageBytes: number
  /** How far the other side's clock may be ahead of ours, in ms. Default 5,000. */
  readonly synchronyMs?: number
  /** How old the other side's handshake message may be, clock difference included, in ms. Default 10,000. */
  readonly maxHandshakeAgeMs?: number
  /** The whole handshake must end within, in ms. Default 5,000. */
  readonly handshakeTimeoutMs?: number
  /** Default: the machine's. */
  readonly clock?: Clock
  /** Default: the operating system's. */
  readonly random?: Random
  /** Ends the handshake; a stream that is open is closed by its own `close`. */
  readonly signal?: AbortSignal
  /**
   * Verify signatures as upstream does (ZIP 215: cofactored, non-canonical encodings accepted) instead of by libsodium's rule.
   * `remoteKey` is then any encoding under which a signature verified.
   */
  readonly zip215?: boolean
}

export interface DialConfig extends StreamConfig {
  /** The key that must answer. */
  readonly peer: Uint8Array
}

export interface ListenConfig extends StreamConfig {
  /**
   * Asked with the key a dialer claims, before anything is computed or verified: answer cheaply and count nothing for it, it may be anybody's.
   * False, or a throw, closes without a word.
   */
  readonly admit: (publicKey: Uint8Array) => boolean | Promise<boolean>
  /** Answers a locate request (55 bytes) in place of a handshake with at most 96 KiB; `undefined` closes without a word. Without it such requests are refused. */
  readonly onLocate?: (request: Uint8Array) => Uint8Array | undefined
}

/** A configuration with everything filled in and checked. */
export interface Settings {
  readonly signer: Signer
  /** Wipes the signer if it was made here. */
  readonly release: () => void
  readonly namespace: Uint8Array
  readonly maxMessageBytes: number
  readonly synchronyMs: number
  readonly maxHandshakeAgeMs: number
  readonly handshakeTimeoutMs: number
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal | undefined
  readonly zip215: boolean
}

/** @throws TypeError for a value out of range; KithError `SECRET_WIPED`. */
export function settle(config: StreamConfig): Settings {
  const settings = {
    namespace: typeof config.namespace === 'string' ? utf8(config.namespace) : config.namespace,
    maxMessageBytes: whole('maxMessageBytes', config.maxMessageBytes, 1, MAX_MESSAGE_BYTES),
    synchronyMs: whole('synchronyMs', config.synchronyMs ?? 5_000, 1, Number.MAX_SAFE_INTEGER),
    maxHandshakeAgeMs: whole('maxHandshakeAgeMs', config.maxHandshakeAgeMs ?? 10_000, 0, Number.MAX_SAFE_INTEGER),
    handshakeTimeoutMs: whole('handshakeTimeoutMs', config.handshakeTimeoutMs ?? 5_000, 1, 0x7fff_ffff),
    clock: config.clock ?? systemClock,
    random: config.random ?? systemRandom,
    signal: config.signal,
    zip215: config.zip215 ?? false,
  }
  if (!(settings.namespace instanceof Uint8Array)) throw new TypeError('namespace is a string or bytes')
  return { ...settings, ...signerOf(config.key) }
}

/** @throws KithError `KEY_INVALID`. */
export function checkPeer(peer: Uint8Array, zip215: boolean): Uint8Array {
  if (!(peer instanceof Uint8Array) || peer.length !== KEY_FRAME_BYTES) throw new TypeError(`peer is a public key of ${KEY_FRAME_BYTES} bytes`)
  if (!zip215 && !isPublicKey(peer)) throw new KithError('KEY_INVALID')
  return Uint8Array.from(peer)
}

function signerOf(key: SigningKey): { signer: Signer; release: () => void } {
  if (key instanceof Secret) {
    if (key.length !== SEED_BYTES) throw new TypeError(`a seed has ${SEED_BYTES} bytes, not ${key.length}`)
    const signer = createSigner('link', key.clone())
    return { signer, release: () => signer.close() }
  }
  if (key?.role !== 'link') throw new TypeError('key is a 32-byte seed or a signer made for the role link')
  return { signer: key, release: () => undefined }
}

function whole(name: string, value: number, least: number, most: number): number {
  if (!Number.isSafeInteger(value) || value < least || value > most) throw new TypeError(`${name} is a whole number from ${least} to ${most}, not ${value}`)
  return value
}
