import type { Duplex } from 'node:stream'
import type { ForeignPrincipal } from '../access/principal.ts'
import type { PublicKey } from '../core/bytes.ts'
import type { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { LinkStream, Path } from '../transport/types.ts'
import type { PolicyTransport } from './policy-conditions.ts'

/** How much a peer is trusted; protocol.md PN-11 and the founding texts. `isolated` is everyone unknown. */
export type PeerClass = 'isolated' | 'known' | 'partner' | 'federated'

/**
 * What a peer wants to do. Actions of this version: `link`, `ping`, `open` (target: protocol), `forward`, `listen`, `datagram` (target: HOST:PORT or unix:/path), `file`, `call`,
 * `publish` and `subscribe` (target: topic), `mailbox` (keep sealed messages for others here).
 */
export interface PolicyRequest {
  /** Who asks: an identity, or a key at a door behind which no identity is known. `policySubject` gives this and `also` for a `Caller`. */
  readonly peer: Did | ForeignPrincipal
  /** What else rules may name it by: `scope:NAME`, `ssh-user:NAME`, the key by which an identity came in. */
  readonly also?: readonly string[]
  /** Default: `link` for a DID; for others none, so that no rule for a door matches. */
  readonly transport?: PolicyTransport
  readonly action: string
  readonly target?: string
  /** What the target's host resolved to, for rules by address; every one must be allowed. */
  readonly addresses?: readonly string[]
}

export interface Decision {
  readonly allowed: boolean
  /** The rule that decided, in words for the owner; never sent to the peer. */
  readonly rule: string
  /** The owner's command that would change it. May name an address, so it goes to the owner only; the peer is told the command for the target as it named it. */
  readonly next: string
  /** A further source says nothing about this action: the default stands (`MeshComponents.policy`). */
  readonly abstains?: boolean
  /** Denied by name, but a rule for a network may allow an address of it: resolve and ask again. */
  readonly byAddress?: boolean
}

/** Plain limits of one class of peers. */
export interface ClassLimits {
  readonly messagesPerSecond: number
  readonly burst: number
  readonly links: number
  readonly streams: number
  readonly bufferBytes: number
  /** Topics a peer may have made known here, and subscriptions it may hold. */
  readonly topics: number
  readonly subscriptions: number
  /** Largest single message or gossip entry, in bytes. */
  readonly messageBytes: number
  /** Bytes answered to one pull. */
  readonly pullBytes: number
  /** Requests of ours that may be open with this peer at once, and of it with us. */
  readonly outstandingRequests: number
}

/** Plain limits for one DID; nothing that enforces them knows where they came from. */
export interface ConstraintSet extends ClassLimits {
  /**
   * Whose budget is charged (PN-11): a peer without a direct edge shares its best introducer's, so that a crowd behind one friend weighs as one.
   * Absent: its own.
   */
  readonly bucket?: BucketConstraint
}

export interface BucketConstraint {
  readonly key: string
  readonly messagesPerSecond: number
  readonly burst: number
  readonly links: number
}

/** Answers every "may this peer do this?". Trust is one source of it; nothing below imports trust. */
export interface Policy {
  decide(request: PolicyRequest): Decision
  constraints(peer: Did): ConstraintSet
  classOf(peer: Did): PeerClass
  /** Standing as a number, 0..10000 basis points: what a topic's `minScore` is compared with. The lower bound of its class where nothing finer is known. */
  scoreOf(peer: Did): number
  /**
   * Calls back when what is decided has changed, so that what runs under it is asked about again: for these peers, or without any for all. Returns the way to
   * stop.
   */
  onChange?(listener: (peers?: readonly Did[]) => void): () => void
}

export interface ProtocolOptions {
  /** Who may open it. `book` (default): peers in the address book. `everyone`: all. `policy`: the policy decides `open` with the protocol's name (default deny). `handler`: the handler asks the policy itself, per request. */
  readonly access?: 'book' | 'everyone' | 'policy' | 'handler'
}

/** What a handler knows about the other side: everything here was proved over this link. */
export interface StreamContext {
  readonly peer: Did
  readonly linkKey: PublicKey
  readonly path: Path
  readonly signal: AbortSignal
}

export type StreamHandler = (stream: Duplex, context: StreamContext) => void | Promise<void>
/** For protocols that work on the lean stream; the header was already taken off. */
export type LeanHandler = (stream: LinkStream, context: StreamContext) => void

export interface PathStatus extends Path {
  readonly postQuantum: boolean
}

/**
 * How far the chain of a peer can be relied on (PN-6). `first-seen`: only the peer showed it, so it is at most Known. `anchored`: a ticket, other peers or a person
 * vouch for it. `stale`: a machine of it that is linked has not heard of its newest keys. `forked`: two contradict each other, and a person has to choose.
 */
export interface ChainStanding {
  readonly status: 'first-seen' | 'anchored' | 'stale' | 'forked'
  /** Of the last entry known here. */
  readonly index: number
  /** SHA-256 of it, 64 hexadecimal digits. */
  readonly head: string
}

export interface LinkStatus {
  readonly did: Did
  readonly name: string | null
  readonly linkKey: string
  readonly state: 'connected' | 'connecting' | 'waiting' | 'idle'
  readonly class: PeerClass
  readonly pendingClass: PeerClass | null
  /** Null while its keys are not known here. */
  readonly chain: ChainStanding | null
  readonly path: PathStatus | null
  readonly rttMs: number | null
  readonly since: string | null
  readonly streams: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Ms until the next attempt, and why the last one failed. */
  readonly retryInMs: number | null
  readonly lastError: { readonly code: string; readonly message: string } | null
}

export type LinkEvent =
  | { readonly type: 'up'; readonly peer: Did; readonly linkKey: string; readonly path: PathStatus }
  | { readonly type: 'down'; readonly peer: Did; readonly linkKey: string; readonly error: KithError | null }
  | { readonly type: 'moved'; readonly peer: Did; readonly linkKey: string; readonly path: PathStatus }
  | {
      readonly type: 'paired'
      readonly peer: Did
      readonly name: string
      readonly words: string
      readonly class: PeerClass
      readonly pending: PeerClass | null
    }
  | { readonly type: 'warning'; readonly peer: Did | null; readonly error: KithError }

export interface CandidateResult {
  readonly url: string
  /** `active`, `ok`, `untried`, or the error code. */
  readonly result: string
  readonly reason: string
}

/** The answer of `why`: which path is used and why not a better one, or whether an action is allowed and by which rule. */
export interface Explanation {
  readonly path: PathStatus | null
  /** Null while its keys are not known here. */
  readonly chain: ChainStanding | null
  readonly candidates: readonly CandidateResult[]
  readonly decision: 'allowed' | 'denied' | null
  readonly rule: string | null
  readonly next: string | null
}

/**
 * What a peer's device did on a link authenticated as that device, and what no correct node does whatever others send it (PN-10, rule 2). Never replay,
 * lateness, clock, unknown versions or topics, refused access, slowness.
 */
export type LinkViolation = 'malformed-frame' | 'invalid-signature' | 'protocol-state' | 'hard-limit'

export interface ViolationReport {
  readonly peer: Did
  readonly device: PublicKey
  readonly kind: LinkViolation
  /** Where it was seen: a protocol's name. */
  readonly protocol: string
  /** The bytes that show it; bounded by whoever keeps them. */
  readonly evidence?: Uint8Array
}

/** A device or identity that may not link here at the moment. */
export interface BanStatus {
  readonly untilMs: number
  readonly reason: string
}

/** Where first-hand violations are reported and standing is asked. Implemented above the mesh; nothing below knows how it decides. Answers come from memory. */
export interface Conduct {
  /**
   * A violation of the device that proved itself on the link that carried it (PN-10, rule 2). The first `hard-limit` of a device is its warning: report it when
   * the refusal is sent, and again when it goes on.
   */
  report(violation: ViolationReport): void
  /** Why this device may not link or send now. */
  banOf(peer: Did, device: PublicKey): BanStatus | undefined
  /** Why this identity may not link now, whatever device it comes with. */
  banOfPeer(peer: Did): BanStatus | undefined
  /** Whether the peer gets what strangers get, whatever class it has: quarantine, or proof against a device that it has not revoked. */
  isolated(peer: Did): boolean
  /** Calls back when a ban or a quarantine of this peer began or ended. Returns the way to stop. */
  onChange(listener: (peer: Did) => void): () => void
}
