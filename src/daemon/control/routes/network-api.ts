import type { AdmissionStatus } from '../../../mesh/admission.ts'
import type { PeerStatus } from '../../status.ts'
import type { Json, Nothing } from '../route.ts'

/** A peer that discovery has seen, whether or not it is in the address book. */
export interface DiscoveredPeer {
  /** Null while it announces only a digest of its DID that no known peer matches. */
  readonly did: string | null
  readonly name: string | null
  readonly addresses: readonly string[]
  readonly source: string
  readonly seen_at: string
}

export interface NetworkStats {
  readonly links: number
  readonly connections: number
  readonly streams: number
  readonly bytes_in: number
  readonly bytes_out: number
  /** Links of peers that are not in the address book; they share one budget. */
  readonly isolated_links: number
  readonly admission: AdmissionStatus
}

export interface NetworkStatus {
  readonly listen: readonly string[]
  readonly schemes: readonly string[]
  readonly links: number
  readonly discovery: { readonly mdns: boolean; readonly peers: number }
}

/** The network as an actor that answers messages: who is there, dial, counters, state. */
export interface NetworkApi {
  'GET /v1/network/peers': Json<Nothing, { readonly peers: readonly DiscoveredPeer[] }>
  'POST /v1/network/dial': Json<{ readonly peer: string; readonly url?: string }, PeerStatus>
  'GET /v1/network/stats': Json<Nothing, NetworkStats>
  'GET /v1/network/status': Json<Nothing, NetworkStatus>
}
