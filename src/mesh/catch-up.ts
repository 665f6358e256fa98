import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Logger } from '../core/observe/log.ts'
import { restoreChainState } from '../identity/chain.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import type { LinkStream } from '../transport/types.ts'
import type { AddressBook } from './address-book.ts'
import { CHAIN_PROTOCOL, fetchChain } from './chain-protocol.ts'
import { atLeast } from './constraints.ts'
import type { KnownKeys } from './known-keys.ts'
import type { Member } from './link-member.ts'
import type { DeviceDirectory } from './messages/types.ts'
import type { PeerClass } from './types.ts'

/** Peers asked about one identity, and how long until it is asked about again. */
const MAX_ASKED = 4
const AGAIN_MS = 3_600_000
const REMEMBERED = 1_000
/** Peers of the class Known that have to say the same; one partner is enough. */
const AGREEING = 2

export interface CatchUpComponents {
  readonly known: KnownKeys
  readonly book: AddressBook
  readonly clock: Clock
  readonly logger: Logger
  readonly closing: AbortSignal
  readonly directory: () => Pick<DeviceDirectory, 'chainOf' | 'learnChain'>
  readonly classOf: (did: Did) => PeerClass
  readonly members: () => Iterable<Member>
  readonly openOn: (member: Member, protocol: string, signal: AbortSignal) => Promise<LinkStream>
  /** Peers that were asked vouch for the keys of this one. */
  readonly onAnchored: (did: Did) => void
}

/**
 * # Asking peers for histories of keys (`icn/chain/1`)
 *
 * - A machine that has missed entries of its own identity asks the peer that knew more.
 * - A history that is longer than what a topic carries is asked of whoever is linked.
 * - A first-seen peer of the book is anchored when one linked Partner, or two linked peers, each anchored itself and met by a ticket or a person of its own, show a
 *   history with the same entry at its end: whoever shows old keys to this node would have had to show them to those, too.
 *
 * Every answer verifies by itself; what contradicts freezes the identity, whoever showed it.
 */
export class CatchUp {
  readonly #components: CatchUpComponents
  readonly #asked: Lru<string, number> = new Lru(REMEMBERED)

  constructor(components: CatchUpComponents) {
    this.#components = components
  }

  /** The peer on this link knows more of an identity's chain: the own one's, perhaps. Never rejects. */
  async from(member: Member, did: Did): Promise<void> {
    await this.#quietly(did, async () => {
      const have = await this.#components.directory().chainOf(did)
      const state = await this.#ask(member, did, have)
      if (state !== undefined) await this.#learn(did, have, state)
    })
  }

  /** More of this chain is needed than was told. True when something was learned. Never rejects. */
  async rest(did: Did): Promise<boolean> {
    if (!this.#mayAsk(`rest ${did}`)) return false
    let learned = false
    await this.#quietly(did, async () => {
      for (const member of this.#candidates(did, true)) {
        const have = await this.#components.directory().chainOf(did)
        const state = await this.#ask(member, did, have)
        if (state === undefined) continue
        await this.#learn(did, have, state)
        learned = true
        return
      }
    })
    return learned
  }

  /** Asks others about a first-seen peer of the book. Never rejects. */
  async corroborate(did: Did): Promise<void> {
    const { known, book, classOf, onAnchored, logger } = this.#components
    if (!book.has(did) || known.statusOf(did) !== 'first-seen' || this.#candidates(did, false).length === 0 || !this.#mayAsk(`same ${did}`)) return
    await this.#quietly(did, async () => {
      let agreeing = 0
      const heard = new Set<Did>()
      for (const member of this.#candidates(did, false)) {
        const peer = member.link.did
        const chain = await known.chain(did)
        if (chain === undefined || chain.status !== 'first-seen' || heard.has(peer)) continue
        heard.add(peer)
        const told = await this.#ask(member, did, withoutHead(chain)).catch(() => undefined)
        if (told === undefined) continue
        const entry = told.entries[chain.index]
        if (entry === undefined) continue
        // A longer one is learned; a contradicting one freezes the identity.
        if (!equal(entry.hash, chain.head) || told.index > chain.index) await this.#components.directory().learnChain(did, told.entries)
        if (!equal(entry.hash, chain.head)) return
        agreeing += atLeast(classOf(peer), 'partner') ? AGREEING : 1
        if (agreeing < AGREEING || known.statusOf(did) !== 'first-seen') continue
        await known.anchor(did)
        logger.info('keys anchored by peers', { peer: did, asked: heard.size })
        onAnchored(did)
        return
      }
    })
  }

  /** Linked peers of the book whose own keys somebody vouches for; `itself`: also the one it is about. */
  #candidates(did: Did, itself: boolean): readonly Member[] {
    const { known, book, members } = this.#components
    const found = new Map<Did, Member>()
    for (const member of members()) {
      const peer = member.link.did
      if (member.state !== 'live' || found.has(peer)) continue
      if (peer === did ? itself : book.has(peer) && known.statusOf(peer) === 'anchored') found.set(peer, member)
    }
    return [...found.values()].slice(0, MAX_ASKED)
  }

  async #ask(member: Member, did: Did, have: ChainState | undefined): Promise<ChainState | undefined> {
    const { openOn, closing, clock, known } = this.#components
    const stream = await openOn(member, CHAIN_PROTOCOL, closing)
    return await fetchChain(stream.toDuplex(), { did, have, known, clock, signal: closing })
  }

  async #learn(did: Did, have: ChainState | undefined, state: ChainState): Promise<void> {
    const fresh = state.entries.slice((have?.index ?? -1) + 1)
    if (fresh.length > 0) await this.#components.directory().learnChain(did, fresh)
  }

  #mayAsk(what: string): boolean {
    const now = this.#components.clock.monotonic()
    const last = this.#asked.get(what)
    if (last !== undefined && now - last < AGAIN_MS) return false
    this.#asked.set(what, now)
    return true
  }

  async #quietly(did: Did, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#components.logger.debug('a history of keys was not learned', { peer: did, code: asKithError(error, 'INTERNAL').code })
    }
  }
}

/** What is known but its last entry, so that whoever is asked shows that one, too. Undefined when it is the only one. */
function withoutHead({ entries, adoptedMs, status, index }: ChainState): ChainState | undefined {
  if (index === 0) return undefined
  return restoreChainState({ entries: entries.slice(0, -1), adoptedMs: adoptedMs.slice(0, -1), status, forks: [], pending: undefined, cancelled: [] })
}
