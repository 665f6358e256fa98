import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import { adoptChain } from '../../identity/chain.ts'
import type { Did } from '../../identity/did.ts'
import type { ChainState } from '../../identity/types.ts'
import { CHAIN_PROTOCOL, fetchChain } from '../../mesh/chain-protocol.ts'
import type { Mesh } from '../../mesh/mesh-types.ts'
import { fetchOwnChain } from './own-chain.ts'

/** Peers that are asked: what a few agree on is what there is. */
const MAX_PEERS = 8

export interface LearnOwnChain {
  readonly did: Did
  /** What is known here. */
  readonly have: ChainState
  /** Addresses of machines of this identity. */
  readonly urls: readonly string[]
  readonly mesh: Pick<Mesh, 'links' | 'open'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly signal: AbortSignal
}

/**
 * The longest chain of this identity that its linked peers (`icn/chain/1`: everybody is shown the own chain) and machines of it show. An answer that does not verify is
 * passed over.
 * @throws KithError `PEER_UNREACHABLE` when nobody answered, `CHAIN_FORKED` when two answers contradict each other, `ABORTED`.
 */
export async function learnOwnChain(options: LearnOwnChain): Promise<ChainState> {
  const { did, have, urls, mesh, clock, random, logger, signal } = options
  const peers = [...new Set(mesh.links().flatMap((link) => (link.state === 'connected' && link.did !== did ? [link.did] : [])))].slice(0, MAX_PEERS)
  const asked = await Promise.all(
    peers.map(async (peer) => {
      try {
        return (await fetchChain(await mesh.open(peer, CHAIN_PROTOCOL, { signal }), { did, have, clock, signal })) ?? have
      } catch (error) {
        logger.debug('own chain not shown', { peer, code: asKithError(error, 'INTERNAL').code })
        return undefined
      }
    }),
  )
  signal.throwIfAborted()
  const shown = asked.filter((chain) => chain !== undefined)
  if (urls.length > 0) shown.push(await fetchOwnChain({ did, urls, clock, random, signal }))
  const [first, ...rest] = shown
  if (first === undefined) {
    throw new KithError('PEER_UNREACHABLE', 'Nobody is linked who could show what became of this identity.', {
      next: 'kith id rotation take --from tcp://HOST:PORT (a machine of this identity)',
    })
  }
  let chain = first
  for (const other of rest) {
    const { state, outcome } = adoptChain(chain, other.entries, { now: clock.now(), did })
    if (outcome === 'forked') throw new KithError('CHAIN_FORKED', undefined, { details: { did, index: state.index } })
    chain = state
  }
  return chain
}
