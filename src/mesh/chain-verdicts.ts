import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { decodeChain } from '../identity/chain-codec.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState } from '../identity/types.ts'
import type { AddressBook } from './address-book.ts'
import type { CatchUp } from './catch-up.ts'
import type { ChainDesk } from './chain-desk.ts'
import type { KnownKeys } from './known-keys.ts'
import type { Member } from './link-member.ts'
import type { LinkTable } from './link-table.ts'
import type { DeviceDirectory } from './messages/types.ts'
import type { ChainStanding } from './types.ts'

export interface ChainVerdictParts {
  readonly own: Did
  readonly known: KnownKeys
  readonly book: AddressBook
  readonly logger: Logger
  readonly chains: ChainDesk
  readonly fetch: CatchUp
  readonly table: () => LinkTable
  readonly directory: () => DeviceDirectory
  readonly onFork: ((chain: ChainState) => void) | undefined
  /** The class of this identity counts from now on. */
  readonly onDecided: (did: Did) => void
  readonly refresh: (did: Did) => void
  readonly onWarning: (peer: Did, error: KithError) => void
}

/** What is held of the histories of keys: who vouched, who contradicts, what a person decided, and what links bring in (PN-6). */
export class ChainVerdicts {
  readonly #parts: ChainVerdictParts
  readonly #contradictedBy: Set<Did> = new Set()

  constructor(parts: ChainVerdictParts) {
    this.#parts = parts
  }

  /** Who was shown two histories of the own identity's keys. */
  get contradictedBy(): readonly Did[] {
    return [...this.#contradictedBy]
  }

  async anchor(did: Did, options: { readonly head?: string; readonly chain?: Uint8Array }): Promise<ChainStanding> {
    if (options.chain !== undefined) await this.#parts.directory().learnChain(did, decodeChain(options.chain))
    const standing = await this.#parts.chains.anchor(did, options.head)
    this.decided(did)
    return standing
  }

  async repin(did: Did, head: string): Promise<ChainStanding> {
    const standing = await this.#parts.chains.repin(did, head)
    // Whoever is linked was let in under the other history, perhaps.
    await this.#parts.table().close(new KithError('LINK_CLOSED'), did)
    this.decided(did)
    return standing
  }

  /** A ticket vouches for the keys of whoever used it. */
  vouch(did: Did): void {
    const { known, logger } = this.#parts
    known
      .anchor(did)
      .then(() => this.decided(did))
      .catch((error: unknown) => logger.warn('keys not anchored', { peer: did, code: asKithError(error, 'INTERNAL').code }))
  }

  decided(did: Did): void {
    this.#parts.onDecided(did)
  }

  /** The other side knows more of the own chain, or could vouch for somebody who was only seen. */
  async catchUp(member: Member, peerKnows: number | undefined): Promise<void> {
    const { own: self, known, fetch, directory, table } = this.#parts
    const { did } = member.link
    const own =
      peerKnows === undefined
        ? undefined
        : await directory()
            .chainOf(self)
            .catch(() => undefined)
    if (peerKnows !== undefined && own !== undefined && peerKnows > own.index) await fetch.from(member, self)
    await fetch.corroborate(did)
    if (known.statusOf(did) !== 'anchored') return
    const others = new Set([...table().members()].map(({ link }) => link.did))
    for (const other of others) await fetch.corroborate(other)
  }

  /** What a peer of the book says of the own identity's keys: that it was shown two histories of them, or not any more. */
  contradicted(by: Did, contradicted: boolean): void {
    if (!contradicted) {
      this.#contradictedBy.delete(by)
      return
    }
    const { own, book, onWarning } = this.#parts
    const name = by === own ? 'this node' : book.get(by)?.name
    if (name === undefined || this.#contradictedBy.has(by)) return
    this.#contradictedBy.add(by)
    onWarning(
      by,
      new KithError('CHAIN_FORKED', `${name} was shown two contradicting histories of this identity's keys`, {
        details: { by, ...(by === own ? {} : { name }) },
        next: 'kith id chain',
      }),
    )
  }

  /** An identity showed a history that contradicts the one known here. */
  forked(chain: ChainState): void {
    const { own, logger, refresh, onFork } = this.#parts
    logger.warn('an identity showed two contradicting histories', { peer: chain.did, index: chain.index })
    refresh(chain.did)
    if (chain.did === own && chain.status === 'forked') this.contradicted(own, true)
    onFork?.(chain)
  }

  /** A peer is not in the book any more. */
  forgotten(did: Did): void {
    this.#contradictedBy.delete(did)
  }
}
