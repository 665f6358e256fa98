import type { PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Did } from '../identity/did.ts'
import type { Binding, ChainState, Device } from '../identity/types.ts'
import type { Channel } from '../transport/types.ts'
import type { HelloCache } from './hello-cache.ts'
import type { KnownKeys } from './known-keys.ts'

declare const proved: unique symbol

/**
 * A channel whose other side has proved its device and its identity. Only `greet` makes one: whoever holds it may trust, count and store what it says.
 */
export interface AuthenticatedLink {
  readonly [proved]: true
  readonly role: 'dialer' | 'listener'
  readonly did: Did
  readonly linkKey: PublicKey
  /** The key the DID began with. */
  readonly didKey: PublicKey
  /** Hh (PN-5), 32 bytes: both Hellos and the channel binding. */
  readonly helloHash: Uint8Array
  /** The first 8 bytes of Hh, by which the leader names a connection (PN-8). */
  readonly connectionId: Uint8Array
  /** 16 bytes, for live envelopes (PN-7). */
  readonly session: Uint8Array
  /** Still to be turned into a connection by `multiplex()`. */
  readonly channel: Channel
  readonly remoteBoot: number
  /** 8 bytes, random per process of the other side. */
  readonly remoteRun: Uint8Array
  /** The other side's clock minus ours, in ms, good to about one round trip. */
  readonly clockOffsetMs: number
  readonly binding: Binding
  /** The chain as it is known here after this Hello, never shorter than before. */
  readonly chain: ChainState
  /** The other side showed fewer entries than are known here: answer with the tail (`icn/chain/1`). */
  readonly chainStale: boolean
  /** Index of the last entry of this node's own chain that the other side says it knows; undefined where it said nothing. */
  readonly peerKnows: number | undefined
  /** The other side says that it knows two contradicting chains of this node's own identity. */
  readonly forkShown: boolean
  readonly postQuantum: {
    /** Nobody who records this link can read it later with a quantum computer. */
    readonly exchange: boolean
    /** Both sides proved themselves with ML-DSA as well. */
    readonly signatures: boolean
  }
  /** The protocol version and capabilities that both sides have. */
  readonly version: number
  readonly capabilities: bigint
}

/** A running process of a device, as far as it could be a clone of another. */
export interface LiveRun {
  readonly boot: number
  readonly run: Uint8Array
}

/** Why the policy does not want a link that has proved itself. The detail reaches the other side: never name a rule in it. */
export interface Refusal {
  readonly code: ErrorCode
  readonly detail?: string
}

/** What a node brings to every Hello. */
export interface GreetContext {
  /** Chain and binding are read anew for each Hello. */
  readonly device: Pick<Device, 'did' | 'didKey' | 'linkSigner' | 'mldsaSigner' | 'chain' | 'binding'>
  readonly known: KnownKeys
  /** Verified bindings and chains; one per node. */
  readonly cache: HelloCache
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  /** The durable count of this node's starts, raised before the first link. */
  readonly boot: number
  /** 8 bytes, random per process. */
  readonly run: Uint8Array
  /** Protocol versions spoken here. Default 1 to 1. */
  readonly versions?: { readonly min: number; readonly max: number }
  readonly capabilities?: bigint
  /** Runs of a device that are connected right now: another run with the same boot is a clone. */
  readonly live?: (linkKey: PublicKey) => Iterable<LiveRun>
  /** The listener's policy, asked once the other side has proved itself. Undefined lets it in. */
  readonly accept?: (link: AuthenticatedLink) => Refusal | undefined
}

export interface GreetOptions {
  /** Whom the dialer means to reach. */
  readonly expect?: Did
  /** Index of the last entry of the own chain that the other side said it knows (-1: none): the greeting then shows what it is missing. */
  readonly peerHas?: number
  readonly signal?: AbortSignal
}
