import type { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import { CatchUp } from './catch-up.ts'
import { ChainDesk } from './chain-desk.ts'
import { ChainVerdicts } from './chain-verdicts.ts'
import { LinkReview } from './link-review.ts'
import type { MeshLinks, Opened } from './mesh-links.ts'
import type { MeshRules } from './mesh-rules.ts'
import type { MeshComponents, MeshPolicy } from './mesh-types.ts'
import type { MeshMessages } from './messages/messages.ts'

export interface MeshChainsParts extends Pick<Opened, 'book' | 'known'> {
  readonly components: MeshComponents
  readonly own: Did
  readonly links: MeshLinks
  readonly closing: AbortSignal
  readonly ruling: () => MeshRules
  readonly policy: () => MeshPolicy
  /** Undefined until the mesh is loaded. */
  readonly messages: () => MeshMessages | undefined
  readonly onWarning: (peer: Did, error: KithError) => void
}

/** What is held of the keys of peers, and what becomes of links when that changes. */
export interface MeshChains {
  readonly desk: ChainDesk
  readonly catchUp: CatchUp
  readonly verdicts: ChainVerdicts
  readonly review: LinkReview
}

export function meshChains({ components, own, book, known, links, closing, ruling, policy, messages, onWarning }: MeshChainsParts): MeshChains {
  const { clock, logger, conduct, onFork } = components
  const table = () => links.table
  const directory = () => (messages() as MeshMessages).directory
  const desk = new ChainDesk({
    known,
    clock,
    isStale: (did) => [...table().membersOf(did)].some(({ link, state }) => link.chainStale && state !== 'closed'),
  })
  const review = new LinkReview({
    known,
    conduct,
    table,
    gate: links.gate,
    reconnector: links.reconnector,
    directory: () => messages()?.directory,
    ruling,
    policy,
  })
  const catchUp = new CatchUp({
    known,
    book,
    clock,
    logger,
    closing,
    directory,
    classOf: (did) => ruling().classOf(did),
    members: () => table().members(),
    openOn: (member, protocol, signal) => links.router.open(member, protocol, signal),
    onAnchored: (did) => verdicts.decided(did),
  })
  const refresh = (did: Did): void => links.gate.refresh(did)
  const verdicts: ChainVerdicts = new ChainVerdicts({
    own,
    known,
    book,
    logger,
    chains: desk,
    fetch: catchUp,
    table,
    directory,
    onFork,
    onDecided: (did) => {
      refresh(did)
      ruling().changed([did])
      links.reconnector.refresh()
      links.reconnector.wake(did)
    },
    refresh,
    onWarning,
  })
  return { desk, catchUp, verdicts, review }
}
