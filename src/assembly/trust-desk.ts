import type { Audit } from '../core/observe/audit.ts'
import type { Did } from '../identity/did.ts'
import type { PeerBook } from '../mesh/mesh-types.ts'
import type { PeerClass } from '../mesh/types.ts'
import type { TrustGraph } from '../trust/api.ts'
import type { Decided, Standing } from '../trust/standing-types.ts'
import type { StandingStatus, TrustEdge, TrustExplanation, TrustStatement } from '../trust/types.ts'
import type { BookTrust } from './book-trust.ts'

export interface Reason {
  readonly reason: string
}

/** What the owner decides about peers, and why a peer stands where it stands. `peer` is a DID, a unique prefix or a name; every change is in the audit log. */
export interface TrustDesk {
  /** @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  explain(peer: string): TrustExplanation
  standing(peer: string): StandingStatus
  /** Everybody something is held against. */
  standings(): readonly StandingStatus[]
  /** What this node says of a peer to others, if anything. */
  said(peer: string): TrustStatement | undefined
  /** Edges that begin or end at a peer, as far as they are known here. */
  edges(peer: string): Promise<readonly TrustEdge[]>
  /**
   * Decides how far a peer is trusted here, said to nobody: a weight from 0 to 10000, or a class, which also puts it into the address book.
   * @throws TypeError. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`, `TRUST_FULL`, `STORE_FAILED`.
   */
  set(peer: string, trust: number | PeerClass): Promise<Did>
  /** Decides the same and says it to everybody who reads `trust:attestations`. @throws as `set`; KithError `TRUST_RATE`. */
  attest(peer: string, weight: number, options?: { readonly labels?: readonly string[]; readonly expiresMs?: number }): Promise<Did>
  /** Takes back what was decided here and what was said of it. Its class in the address book stays. @throws as `set`. */
  revoke(peer: string): Promise<Did>
  /** Ends its links and refuses it for `forMs`, by default as long as the node itself would; at most 30 days. @throws as `set`. */
  ban(peer: string, options: Reason & { readonly forMs?: number }): Promise<Did>
  /** @throws KithError `NOT_FOUND` when there is no ban. */
  unban(peer: string, options: Reason): Promise<Did>
  /** Ends everything that is held against it. @throws KithError `NOT_FOUND` when nothing is. */
  pardon(peer: string, options: Reason): Promise<Did>
}

export interface TrustDeskParts {
  readonly book: PeerBook
  readonly graph: TrustGraph
  readonly standing: Standing
  readonly bookTrust: Pick<BookTrust, 'byHand'>
  readonly audit: Audit
}

export function createTrustDesk({ book, graph, standing, bookTrust, audit }: TrustDeskParts): TrustDesk {
  const note = async (action: string, subject: Did, details: Readonly<Record<string, string | number>>): Promise<void> => {
    await audit.append({ actor: 'owner', action, subject, reason: '', details })
  }
  const by = ({ reason }: Reason): Decided => ({ actor: 'owner', reason })
  return {
    explain: (peer) => {
      const did = book.resolve(peer)
      return { ...graph.explain(did), reputation: standing.reputationOf(did) }
    },
    standing: (peer) => standing.status(book.resolve(peer)),
    standings: () => standing.list(),
    said: (peer) => {
      const did = book.resolve(peer)
      return graph.said().find(({ subject, graph: kind, scope, weight }) => subject === did && kind === 'social' && scope === undefined && weight > 0)
    },
    edges: async (peer) => {
      const did = book.resolve(peer)
      return [...(await graph.edges({ target: did, graph: 'social' })), ...(await graph.edges({ source: did, graph: 'social' }))]
    },
    set: async (peer, trust) => {
      const did = book.resolve(peer)
      if (typeof trust === 'number') {
        await graph.set(did, trust)
        await bookTrust.byHand(did)
        await note('trust.set', did, { weight: trust })
      } else {
        // The address book is the owner's word; the edge follows it.
        await book.add(did, { class: trust })
      }
      return did
    },
    attest: async (peer, weight, options = {}) => {
      const did = book.resolve(peer)
      await graph.set(did, weight, { ...options, publish: true })
      await bookTrust.byHand(did)
      await note('trust.attest', did, { weight, ...(options.labels === undefined ? {} : { labels: options.labels.length }) })
      return did
    },
    revoke: async (peer) => {
      const did = book.resolve(peer)
      await graph.revoke(did)
      await bookTrust.byHand(did)
      await note('trust.revoke', did, {})
      return did
    },
    ban: async (peer, options) => {
      const did = book.resolve(peer)
      await standing.ban(did, { ...by(options), ...(options.forMs === undefined ? {} : { durationMs: options.forMs }) })
      return did
    },
    unban: async (peer, options) => (await standing.unban(book.resolve(peer), by(options))).did,
    pardon: async (peer, options) => (await standing.pardon(book.resolve(peer), by(options))).did,
  }
}
