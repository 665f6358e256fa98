import { equal, fromHex } from '../core/bytes.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import type { AddressBook } from './address-book.ts'
import { schemeOf, splitAddress } from './addresses.ts'
import { type Candidate, type Dialer, deviceId } from './dialer.ts'
import { abortError } from './errors.ts'
import type { Member } from './link-member.ts'
import type { LinkTable } from './link-table.ts'
import type { Target } from './reconnect.ts'
import type { Router } from './router.ts'
import type { Ticket } from './ticket.ts'

/** A connection that failed under an opening stream is replaced this often. */
const OPEN_TRIES = 3

export interface ReachComponents {
  readonly table: () => LinkTable
  readonly dialer: Dialer
  readonly router: Router
  readonly book: AddressBook
  readonly mayLink: (did: Did) => boolean
  readonly canDial: (scheme: string) => boolean
  /** Ends when the mesh closes. */
  readonly closing: AbortSignal
}

/** From a peer to a connection with it: the one there is, or a new one. */
export class Reach {
  readonly #components: ReachComponents

  constructor(components: ReachComponents) {
    this.#components = components
  }

  /** The link in use, dialled if there is none. @throws KithError as `Dialer.dial`. */
  async member(did: Did, signal?: AbortSignal): Promise<Member> {
    const { table, dialer } = this.#components
    return table().pick(did) ?? (await dialer.dial(did, signal))
  }

  /** Over exactly this address, whatever links there are. @throws KithError `ADDRESS_INVALID`, or as `Dialer.dial`. */
  async memberAt(did: Did, url: string, signal: AbortSignal = this.#components.closing): Promise<Member> {
    if (splitAddress(url) === undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: url.slice(0, 100) } })
    const known = this.#components.book.get(did)?.addresses.find((address) => address.url === url)
    return await this.#components.dialer.race(did, [{ url, linkKey: known?.linkKey }], signal)
  }

  /** With the machine that made this ticket, over the ticket's addresses when it is not linked. */
  async memberOfTicket(ticket: Ticket, signal: AbortSignal): Promise<Member> {
    const { table, dialer } = this.#components
    const linked = table().get(ticket.linkKey)?.current
    if (linked !== undefined && linked.link.did === ticket.did) return linked
    const urls = ticket.urls.toSorted((a, b) => dialer.rank(schemeOf(a)) - dialer.rank(schemeOf(b)))
    return await dialer.race(
      ticket.did,
      urls.map((url) => ({ url, linkKey: ticket.linkKey })),
      signal,
    )
  }

  /** A stream on whatever connection works. @throws KithError as `Mesh.openLean`. */
  async open(did: Did, protocol: string, signal?: AbortSignal): Promise<LinkStream> {
    return await this.onLink(did, signal, (member) => this.#components.router.open(member, protocol, signal))
  }

  /** Runs on whatever connection works; one that is lost or moves away under it is replaced. @throws KithError */
  async onLink<T>(did: Did, signal: AbortSignal | undefined, run: (member: Member) => Promise<T>): Promise<T> {
    const { table } = this.#components
    for (let attempt = 1; ; attempt++) {
      const member = await this.member(did, signal)
      try {
        const result = await run(member)
        table().used(member)
        return result
      } catch (thrown) {
        if (signal?.aborted === true) throw abortError(signal)
        const error = asKithError(thrown, 'INTERNAL')
        if (!error.retryable || attempt >= OPEN_TRIES) throw error
        table().failed(member, error)
      }
    }
  }

  /** On the link with exactly this machine of the peer. @throws KithError `PEER_UNREACHABLE`, `LINK_LOST`, `LINK_MOVED`, `ABORTED`. */
  async openOn(linkKey: string, did: string, protocol: string, signal?: AbortSignal): Promise<LinkStream> {
    const member = this.#components.table().get(fromHex(linkKey))?.current
    if (member === undefined || member.link.did !== did) throw new KithError('PEER_UNREACHABLE', 'this machine is not linked')
    return await this.#components.router.open(member, protocol, signal)
  }

  /** Devices of book peers that can be dialled and may be linked, for the reconnector. */
  targets(): readonly Target[] {
    const { book, dialer, mayLink, canDial } = this.#components
    const targets = new Map<string, Target>()
    for (const { did } of book.list()) {
      if (!mayLink(did)) continue
      const candidates = dialer.candidates(did).filter(({ url }) => canDial(schemeOf(url)))
      const keyed = candidates.filter(({ linkKey }) => linkKey !== undefined)
      // An address without a key may belong to a machine that is known already: it only counts while there is no other way.
      for (const { linkKey } of keyed.length > 0 ? keyed : candidates.slice(0, 1)) {
        const id = deviceId(did, linkKey)
        targets.set(id, { id, did, linkKey })
      }
    }
    return [...targets.values()]
  }

  connected({ did, linkKey }: Target): boolean {
    const table = this.#components.table()
    return (linkKey === undefined ? table.pick(did) : table.get(linkKey)?.current) !== undefined
  }

  async redial({ did, linkKey }: Target, signal: AbortSignal): Promise<void> {
    const { table, dialer } = this.#components
    if (table().pick(did) === undefined) {
      await dialer.dial(did, signal)
      return
    }
    const ofDevice = (candidate: Candidate): boolean => linkKey === undefined || (candidate.linkKey !== undefined && equal(candidate.linkKey, linkKey))
    await dialer.race(did, dialer.candidates(did).filter(ofDevice), signal)
  }
}
