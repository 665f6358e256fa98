import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { repinChain } from '../identity/chain.ts'
import { type Did, shortDid } from '../identity/did.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import type { KnownKeys } from './known-keys.ts'
import type { ChainStanding } from './types.ts'

/** Fewer digits of a head could be met by trying. */
const MIN_HEAD_DIGITS = 16

export interface ChainDeskComponents {
  readonly known: KnownKeys
  readonly clock: Clock
  /** Whether a machine of this peer that is linked now showed less of the chain than is known here. */
  readonly isStale: (did: Did) => boolean
}

/** A history that a person may choose, named by its last entry. */
interface Branch {
  readonly head: string
  readonly entries: readonly ChainEntry[]
}

/**
 * How far the chains of peers can be relied on (PN-6), and the two decisions about it that only a person takes.
 *
 * ```text
 * first-seen --- ticket, words, two peers, anchor ---> anchored          at most Known before
 *      |                                                  |
 *      +---------- a contradicting history ---------------+--> forked --- repin ---> anchored
 * ```
 */
export class ChainDesk {
  readonly #components: ChainDeskComponents

  constructor(components: ChainDeskComponents) {
    this.#components = components
  }

  standing(did: Did): ChainStanding | null {
    const { known, isStale } = this.#components
    const peer = known.peer(did)
    const status = known.statusOf(did)
    if (peer === undefined || status === undefined) return null
    return { status: status !== 'forked' && isStale(did) ? 'stale' : status, index: peer.index, head: toHex(peer.head) }
  }

  /**
   * A person vouches for the chain as it is known here; `head` is what the owner of the identity read out of it.
   * @throws KithError `NOT_FOUND` when no chain is known, `CHAIN_FORKED` while two are, `WRONG_PEER` when the head is another one, `STORE_FAILED`.
   */
  async anchor(did: Did, head: string | undefined): Promise<ChainStanding> {
    const { known } = this.#components
    const chain = await this.#chain(did)
    if (chain.status === 'forked') throw this.#forked(chain)
    if (head !== undefined && !toHex(chain.head).startsWith(headPrefix(head))) {
      throw new KithError('WRONG_PEER', `the keys of ${shortDid(did)} that are known here end in another entry`, {
        details: { did, index: chain.index, head: toHex(chain.head) },
        next: 'kith id chain (on the other machine, to see all its entries)',
      })
    }
    await known.anchor(did)
    return this.standing(did) as ChainStanding
  }

  /**
   * A person chooses between contradicting histories, by an entry that only the true one has.
   * @throws KithError `NOT_FOUND` when no chain or none with this entry is known, `CONFIRM_NOTHING` when nothing contradicts it, `STORE_FAILED`.
   */
  async repin(did: Did, head: string): Promise<ChainStanding> {
    const { known, clock } = this.#components
    const prefix = headPrefix(head)
    const chain = await this.#chain(did)
    if (chain.status !== 'forked')
      throw new KithError('CONFIRM_NOTHING', `nothing contradicts the keys of ${shortDid(did)} that are known here`, { next: 'kith peers' })
    const named = branchesOf(chain).filter(({ entries }) => entries.some(({ hash }) => toHex(hash).startsWith(prefix)))
    const [chosen, second] = named
    if (chosen === undefined || second !== undefined) {
      throw new KithError(
        'NOT_FOUND',
        chosen === undefined ? 'neither history has such an entry' : 'both histories have this entry: name one after they part',
        {
          details: { did, heads: branchesOf(chain).map((branch) => branch.head) },
          next: 'kith id chain (on the machine you trust)',
        },
      )
    }
    known.repin(repinChain(chain, chosen.entries, { now: clock.now() }))
    await known.flush()
    return this.standing(did) as ChainStanding
  }

  /** Heads of the histories that contradict each other, the one that stands here first. @throws KithError `STORE_FAILED`. */
  async heads(did: Did): Promise<readonly string[]> {
    const chain = await this.#components.known.chain(did)
    return chain?.status === 'forked' ? branchesOf(chain).map(({ head }) => head) : []
  }

  async #chain(did: Did): Promise<ChainState> {
    const chain = await this.#components.known.chain(did)
    if (chain === undefined)
      throw new KithError('NOT_FOUND', `no keys of ${shortDid(did)} are known here yet`, { details: { did }, next: `kith network dial ${did}` })
    return chain
  }

  #forked(chain: ChainState): KithError {
    const heads = branchesOf(chain).map(({ head }) => head)
    return new KithError('CHAIN_FORKED', undefined, { details: { did: chain.did, heads }, next: `kith peers repin ${chain.did} --head HEX` })
  }
}

/** What stands here, and what was shown against it as far as it is kept. */
export function branchesOf(chain: ChainState): readonly Branch[] {
  const others = chain.forks.map(({ other }) => [...chain.entries.slice(0, other.index), other])
  return [chain.entries, ...others].map((entries) => ({ head: toHex((entries.at(-1) as ChainEntry).hash), entries }))
}

/** @throws TypeError */
function headPrefix(text: string): string {
  const prefix = text.toLowerCase()
  if (!/^[0-9a-f]{1,64}$/.test(prefix) || prefix.length < MIN_HEAD_DIGITS) throw new TypeError(`a head is ${MIN_HEAD_DIGITS} to 64 hexadecimal digits`)
  return prefix
}
