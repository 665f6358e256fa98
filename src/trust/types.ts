import type { PublicKey } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'
import type { PeerClass } from '../mesh/types.ts'

/** Three graphs that never mix (founding text 1.4). `social` decides here; the others are carried. */
export type GraphKind = 'social' | 'economic' | 'technical'

/** One statement "source trusts target so much". Basis points 0..10000; 0 takes it back. */
export interface TrustEdge {
  readonly source: Did
  readonly target: Did
  readonly graph: GraphKind
  /** Where it holds; absent: everywhere. */
  readonly scope: string | undefined
  readonly weight: number
  readonly labels: readonly string[]
  /** Ids of things that support it; verified apart. */
  readonly evidence: readonly Uint8Array[]
  readonly createdMs: number
  /** At most 365 days after `createdMs`. */
  readonly expiresMs: number
  /** Rises with each statement of `source` about `target` in this graph and scope. */
  readonly sequence: number
}

export interface TrustPath {
  readonly via: Did
  /** me -> via, via -> target, and what the path adds, in basis points. */
  readonly first: number
  readonly second: number
  readonly contribution: number
}

export interface TrustExplanation {
  readonly target: Did
  readonly score: number
  readonly class: PeerClass
  readonly direct: number
  readonly transitive: number
  readonly paths: readonly TrustPath[]
  /** Whose budget a peer without a direct edge shares. */
  readonly introducer: Did | undefined
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
