import type { Duplex } from 'node:stream'
import type { PublicKey } from '../core/bytes.ts'
import type { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { LinkStream, Path } from '../transport/types.ts'

/** How much a peer is trusted; protocol.md PN-11 and the founding texts. `isolated` is everyone unknown. */
export type PeerClass = 'isolated' | 'known' | 'partner' | 'federated'

/** What a peer wants to do. Actions of this version: `link`, `ping`, `open` (target: protocol), `forward` (target: HOST:PORT), `file`, `call`. */
export interface PolicyRequest {
  readonly peer: Did
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
  /** Denied by name, but a rule for a network may allow an address of it: resolve and ask again. */
  readonly byAddress?: boolean
}

/** Plain limits for one DID; nothing that enforces them knows where they came from. */
export interface ConstraintSet {
  readonly messagesPerSecond: number
  readonly burst: number
  readonly links: number
  readonly streams: number
  readonly bufferBytes: number
}

/** Answers every "may this peer do this?". Trust becomes one source of it later; nothing below imports trust. */
export interface Policy {
  decide(request: PolicyRequest): Decision
  constraints(peer: Did): ConstraintSet
  classOf(peer: Did): PeerClass
  /** Calls back when the owner changed what is decided, so that what runs under it is asked about again. Returns the way to stop. */
  onChange?(listener: () => void): () => void
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

export interface LinkStatus {
  readonly did: Did
  readonly name: string | null
  readonly linkKey: string
  readonly state: 'connected' | 'connecting' | 'waiting' | 'idle'
  readonly class: PeerClass
  readonly pendingClass: PeerClass | null
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
  readonly candidates: readonly CandidateResult[]
  readonly decision: 'allowed' | 'denied' | null
  readonly rule: string | null
  readonly next: string | null
}
