import type { Did } from '../identity/did.ts'
import type { RecordMessage } from '../mesh/messages/types.ts'
import type { PeerClass } from '../mesh/types.ts'
import type { PutOutcome } from './edge-graph.ts'
import type { EdgeEvidence, GraphKind, TrustEdge, TrustScore, TrustStatement, TrustView } from './types.ts'

/**
 * What became of a statement that came. `future`, `rate`, `full` and `unsupported` may be offered again later; the others are final.
 * None of them says anything against whoever carried it.
 */
export type AttestationOutcome = PutOutcome | 'malformed' | 'misplaced' | 'future' | 'rate' | 'unsupported'

export interface EdgeOptions {
  /** Default `social`. */
  readonly graph?: GraphKind
  /** Default: everywhere. */
  readonly scope?: string
  readonly labels?: readonly string[]
  /** Default: 365 days from now, the most there is. */
  readonly expiresMs?: number
}

export interface SetOptions extends EdgeOptions {
  /** Say it to others too. Default false: what this node decides is its own. */
  readonly publish?: boolean
}

export interface AttestOptions extends EdgeOptions {
  readonly evidence?: readonly EdgeEvidence[]
}

export interface RevokeOptions {
  readonly graph?: GraphKind
  readonly scope?: string
  /** Take back what was said to others. Default: when something was said that still holds. */
  readonly publish?: boolean
}

export interface EdgeFilter {
  readonly source?: Did
  readonly target?: Did
  /** With `scope` absent: edges of this graph that hold everywhere. */
  readonly graph?: GraphKind
  readonly scope?: string
  /** Default 1,000. */
  readonly limit?: number
}

/**
 * # Trust: who may do how much here (PN-11)
 *
 * A score is this node's own view: what it decided itself, and what those say whom it trusts. Reads answer from memory and need no waiting.
 */
export interface TrustGraph extends AsyncDisposable {
  /** Rises whenever a score may have changed by more than the passing of time. */
  readonly generation: number
  /** 0..10000. This identity itself is at 10000, one that nobody speaks of at 0. */
  score(target: Did, view?: TrustView): number
  classOf(target: Did, view?: TrustView): PeerClass
  /** Whose budget it shares when this node has no edge to it itself: its best introducer's. */
  bucketOf(target: Did, view?: TrustView): Did | undefined
  explain(target: Did, view?: TrustView): TrustScore
  /**
   * Decides here how much somebody is trusted; durable when it resolves. 0 is `revoke` without a word to others.
   * @throws TypeError for a weight, graph, scope, label or expiry out of range, or oneself. @throws KithError `TRUST_FULL`, `TRUST_RATE`, `STORE_FAILED`, `CLOSED`.
   */
  set(target: Did, weight: number, options?: SetOptions): Promise<void>
  /** Takes back an own decision, and what was said of it. Whether there was one. @throws as `set`. */
  revoke(target: Did, options?: RevokeOptions): Promise<boolean>
  /** Says to others how much somebody is trusted, whatever is decided here. @throws as `set`; TypeError when this node cannot publish. */
  attest(target: Did, weight: number, options?: AttestOptions): Promise<void>
  /** The payload that `attest` publishes; its number is spent when it resolves. @throws as `attest`. */
  createAttestation(target: Did, weight: number, options?: AttestOptions): Promise<Uint8Array>
  /** What this identity said to others and still holds. */
  said(): readonly TrustStatement[]
  /**
   * Takes a statement that came; a record that was verified, whose topic admitted its author. Never throws for what it holds.
   * @param payload the statement, where the record carries it inside something else, as entries of gossip do. @throws KithError `CLOSED`.
   */
  apply(record: RecordMessage, payload?: Uint8Array): Promise<AttestationOutcome>
  /** Edges that count now. */
  edges(filter?: EdgeFilter): Promise<readonly TrustEdge[]>
  /** Calls back with those whose score may have changed. Returns the way to stop. */
  onChange(listener: (targets: readonly Did[]) => void): () => void
  status(): TrustStatus
  close(): Promise<void>
}

export interface TrustStatus {
  readonly edges: number
  readonly issuers: number
  readonly statements: Readonly<Partial<Record<AttestationOutcome, number>>>
}
