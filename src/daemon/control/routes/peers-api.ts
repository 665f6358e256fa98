import type { CandidateResult, ChainStanding, PeerClass } from '../../../mesh/types.ts'
import type { PeerStatus } from '../../status.ts'
import type { Json, Nothing } from '../route.ts'

/** A ticket is shown once: nothing later gives it back. */
export interface InviteMade {
  readonly id: string
  readonly ticket: string
  readonly class: PeerClass
  readonly uses: number
  readonly expires_at: string
}

export interface InviteListed {
  readonly id: string
  readonly class: PeerClass
  readonly uses_left: number
  readonly expires_at: string
}

export interface Joined {
  readonly did: string
  readonly name: string
  /** Four words, the same on both sides. */
  readonly words: string
  readonly class: PeerClass
  /** The class that takes effect once the other side confirms the words. */
  readonly pending: PeerClass | null
}

export interface BookEntry {
  readonly did: string
  readonly name: string
  readonly class: PeerClass
  readonly pending_class: PeerClass | null
  /** How far its keys can be relied on; null before they were seen. */
  readonly chain: ChainStanding | null
  readonly since: string
  readonly addresses: readonly string[]
}

/** Peers: pairing, the address book, reaching them. `peer` is a DID, a unique prefix of one, or a name. */
export interface PeersApi {
  'POST /v1/invites': Json<{ readonly class?: PeerClass; readonly expires_ms?: number; readonly uses?: number; readonly trust_ticket?: boolean }, InviteMade>
  'GET /v1/invites': Json<Nothing, { readonly invites: readonly InviteListed[] }>
  'POST /v1/invites/revoke': Json<{ readonly id: string }, { readonly id: string; readonly revoked: true }>
  'POST /v1/join': Json<{ readonly ticket: string; readonly name?: string }, Joined>
  'POST /v1/confirm': Json<{ readonly peer: string }, { readonly did: string; readonly name: string | null; readonly class: PeerClass }>
  'GET /v1/peers': Json<Nothing, { readonly peers: readonly BookEntry[] }>
  'POST /v1/peers/add': Json<{ readonly did: string; readonly urls: readonly string[]; readonly name?: string }, BookEntry>
  'POST /v1/peers/rename': Json<{ readonly peer: string; readonly name: string }, BookEntry>
  'POST /v1/peers/forget': Json<{ readonly peer: string }, { readonly did: string; readonly forgotten: true }>
  'POST /v1/ping': Json<{ readonly peer: string; readonly count: number }, { readonly did: string; readonly rtt_ms: readonly number[] }>
  'POST /v1/why': Json<{ readonly peer: string; readonly action?: string; readonly target?: string }, Why>
}

/** Which path is used and why not a better one; with an action, also whether it is allowed and by which rule. */
export interface Why {
  readonly did: string
  readonly path: PeerStatus['path']
  readonly chain: ChainStanding | null
  readonly pq: boolean | null
  readonly candidates: readonly CandidateResult[]
  readonly decision: 'allowed' | 'denied' | null
  readonly rule: string | null
  readonly next: string | null
}
