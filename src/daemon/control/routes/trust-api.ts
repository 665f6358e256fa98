import type { PeerClass } from '../../../mesh/types.ts'
import type { StandingStatus } from '../../../trust/types.ts'
import type { Json, Nothing } from '../route.ts'

/** A path of two hops: weights from 0 to 1, and what the path alone would add. */
export interface PathShown {
  readonly via: string
  readonly via_name: string | null
  readonly first: number
  readonly second: number
  readonly contribution: number
}

/** How far a peer is trusted, in short. Scores, weights and reputation from 0 to 1. */
export interface TrustListed {
  readonly did: string
  readonly name: string | null
  /** What counts: the owner's word in the address book, else what the score says. */
  readonly class: PeerClass
  /** `keys`: at most known, because only the peer itself showed its keys. */
  readonly class_from: 'address book' | 'score' | 'standing' | 'keys'
  readonly score: number
  readonly reputation: number
  readonly state: StandingStatus['state']
  /** When a ban ends. */
  readonly until: string | null
}

export interface TrustShown extends TrustListed {
  readonly direct: number
  readonly transitive: number
  /** The strongest first. */
  readonly paths: readonly PathShown[]
  readonly path_count: number
  /** Whose budget it shares while this node says nothing of it itself. */
  readonly introducer: string | null
  /** What this node says of it to others. */
  readonly said: { readonly weight: number; readonly labels: readonly string[]; readonly expires_at: string } | null
  readonly devices: readonly { readonly device: string; readonly banned_until: string | null; readonly reason: string }[]
  readonly violations: readonly { readonly kind: string; readonly weight: number; readonly time: string }[]
}

export interface EdgeShown {
  readonly source: string
  readonly source_name: string | null
  readonly target: string
  readonly target_name: string | null
  readonly weight: number
  readonly labels: readonly string[]
  readonly created_at: string
  readonly expires_at: string
}

interface Peer {
  readonly peer: string
}

/** Trust: what is decided here, what is said to others, what they say, and what is held against whom. */
export interface TrustApi {
  'GET /v1/trust': Json<Nothing, { readonly peers: readonly TrustListed[] }>
  'POST /v1/trust/show': Json<Peer, TrustShown>
  /** `class` puts the peer into the address book with it; `weight` is what this node decides beside that. One of them. */
  'POST /v1/trust/set': Json<Peer & { readonly weight?: number; readonly class?: PeerClass }, TrustShown>
  'POST /v1/trust/attest': Json<Peer & { readonly weight: number; readonly labels?: readonly string[] }, TrustShown>
  'POST /v1/trust/revoke': Json<Peer, TrustShown>
  'POST /v1/trust/graph': Json<Peer, { readonly did: string; readonly edges: readonly EdgeShown[] }>
  'POST /v1/trust/ban': Json<Peer & { readonly reason: string; readonly for_ms?: number }, TrustShown>
  'POST /v1/trust/unban': Json<Peer & { readonly reason: string }, TrustShown>
  'POST /v1/trust/pardon': Json<Peer & { readonly reason: string }, TrustShown>
}
