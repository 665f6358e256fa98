import type { PublicKey } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'
import type { PeerClass } from '../mesh/types.ts'

/** Three graphs that never mix (founding text 1.4). `social` decides here; the others are carried. */
export type GraphKind = 'social' | 'economic' | 'technical'

/** Where a score is asked: edges of one graph and one scope count, no others. */
export interface TrustView {
  /** Absent: the social graph under the weights that decide a peer's class. Given: that graph under its own weights. */
  readonly graph?: GraphKind
  /** Absent: edges that hold everywhere. Edges with a scope count in that scope alone. */
  readonly scope?: string
}

/** Something that supports a statement (`edge-evidence.ts`). A kind this version does not know is carried and gives nothing. */
export interface EdgeEvidence {
  readonly kind: number
  readonly body: Uint8Array
}

/** What an issuer says about a subject (`statement.ts`). Basis points 0..10000; 0 takes it back. */
export interface TrustStatement {
  readonly subject: Did
  readonly graph: GraphKind
  /** Where it holds; absent: everywhere. */
  readonly scope: string | undefined
  readonly weight: number
  /** Sorted, distinct. */
  readonly labels: readonly string[]
  readonly evidence: readonly EdgeEvidence[]
  readonly createdMs: number
  /** At most 365 days after `createdMs`. */
  readonly expiresMs: number
  /** Rises with each statement of the issuer about this subject in this graph and scope. */
  readonly sequence: number
}

/** One statement "source trusts target so much", as it is kept here. */
export interface TrustEdge extends Omit<TrustStatement, 'subject'> {
  readonly source: Did
  readonly target: Did
}

export interface TrustPath {
  readonly via: Did
  /** me -> via, via -> target, and what the path adds, in basis points. */
  readonly first: number
  readonly second: number
  readonly contribution: number
}

/** A score and where it comes from (PN-11). */
export interface TrustScore {
  readonly target: Did
  /** Basis points 0..10000. */
  readonly score: number
  readonly class: PeerClass
  readonly direct: number
  readonly transitive: number
  /** The strongest first; at most `MAX_PATHS` of them. */
  readonly paths: readonly TrustPath[]
  readonly pathCount: number
  /** Whose budget a peer without a direct edge shares. */
  readonly introducer: Did | undefined
}

export interface TrustExplanation extends TrustScore {
  /** 0..10000: what misbehaviour left of it. */
  readonly reputation: number
}

/** Standing of a device or identity after what this node saw itself (PN-10). */
export interface StandingStatus {
  readonly did: Did
  readonly reputation: number
  readonly state: 'good' | 'quarantined' | 'banned'
  readonly untilMs: number | undefined
  readonly devices: readonly { readonly device: PublicKey; readonly bannedUntilMs: number | undefined; readonly reason: string }[]
  readonly violations: readonly { readonly kind: string; readonly weight: number; readonly timeMs: number }[]
}
