import { toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { anchorChain } from '../identity/chain.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import type { LinkStream } from '../transport/types.ts'
import type { AddressBook, BookPeer } from './address-book.ts'
import { splitAddress, ticketAddresses } from './addresses.ts'
import { atLeast, isPeerClass } from './constraints.ts'
import { type Invites, MAX_USES } from './invite.ts'
import type { KnownKeys } from './known-keys.ts'
import type { Member } from './link-member.ts'
import type { InviteMade, Joined, MeshInvites } from './mesh-types.ts'
import { checkTicketChain, granted, joinByTicket, PAIR_PROTOCOL } from './pairing.ts'
import { decodeTicket, encodeTicket, TICKET_URLS, type Ticket } from './ticket.ts'

const DEFAULT_EXPIRES_MS = 600_000
const MAX_EXPIRES_MS = 30 * 86_400_000
/** A pairing that lost its connection is tried on another one this often in all. */
const TRIES = 3

export interface PairingServiceComponents {
  readonly device: () => Device
  readonly book: AddressBook
  readonly invites: Invites
  readonly known: KnownKeys
  readonly clock: Clock
  readonly random: Random
  readonly addresses: () => readonly string[]
  /** The connection with exactly this machine, made over these addresses if there is none. */
  readonly link: (ticket: Ticket, signal: AbortSignal) => Promise<Member>
  readonly openOn: (member: Member, protocol: string, signal: AbortSignal) => Promise<LinkStream>
  readonly onPaired: (joined: Joined) => void
}

/** The owner's side of invitations, joining and confirming. */
export class PairingService {
  readonly #components: PairingServiceComponents

  constructor(components: PairingServiceComponents) {
    this.#components = components
  }

  async create(options: Parameters<MeshInvites['create']>[0] = {}): Promise<InviteMade> {
    const { device, invites, clock, random, addresses } = this.#components
    const wanted = options.class ?? 'known'
    const lifeMs = options.expiresMs ?? DEFAULT_EXPIRES_MS
    const uses = options.uses ?? 1
    if (!isPeerClass(wanted) || wanted === 'isolated') throw new TypeError('an invitation is for known, partner or federated')
    if (!Number.isInteger(lifeMs) || lifeMs < 1_000 || lifeMs > MAX_EXPIRES_MS) throw new TypeError('an invitation lasts from a second to 30 days')
    if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES) throw new TypeError(`an invitation is for 1 to ${MAX_USES} uses`)
    const usable = addresses().filter((url) => url.length <= 128)
    const urls = ticketAddresses(usable, TICKET_URLS)
    if (urls.length === 0)
      throw new KithError('ADDRESS_INVALID', 'this node listens nowhere, so nobody could use a ticket', { next: 'kith up --listen tcp://0.0.0.0:4433' })
    // Whole seconds, so that both sides mean the same moment.
    const expiresS = Math.ceil((clock.now() + lifeMs) / 1000)
    const { invite, secret } = await invites.create({ class: wanted, expiresMs: expiresS * 1000, uses, trustTicket: options.trustTicket ?? false }, random)
    const { did, linkSigner, chain } = device()
    const ticket = encodeTicket({
      id: invite.id,
      secret,
      did,
      linkKey: linkSigner.publicKey,
      chainIndex: chain.index,
      headPrefix: chain.head.slice(0, 8),
      class: wanted,
      expiresS,
      urls,
    })
    return { id: toHex(invite.id), ticket, class: wanted, uses, expiresMs: invite.expiresMs }
  }

  async join(text: string, options: { readonly name?: string }, signal: AbortSignal): Promise<Joined> {
    const { clock, device } = this.#components
    const ticket = decodeTicket(text)
    if (ticket.did === device().did) throw new KithError('SELF_DIAL', 'this ticket is from this identity; its machines know each other without one')
    if (ticket.expiresS * 1000 <= clock.now())
      throw new KithError('INVITE_REFUSED', 'the ticket has run out', { next: 'kith invite (on the other machine, for a new ticket)' })
    if (!ticket.urls.every((url) => splitAddress(url) !== undefined)) throw new KithError('INVITE_INVALID', 'the ticket names an address that is none')
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#joinOnce(ticket, options, signal)
      } catch (error) {
        const moved =
          isKithError(error, 'LINK_MOVED') || isKithError(error, 'LINK_LOST') || isKithError(error, 'LINK_CLOSED') || isKithError(error, 'GOING_AWAY')
        if (!moved || attempt >= TRIES) throw error
      }
    }
  }

  /** @throws KithError `CONFIRM_NOTHING`. */
  async confirm(did: Did): Promise<BookPeer> {
    const { book } = this.#components
    const peer = book.get(did)
    if (peer === undefined || peer.pending === null) {
      throw new KithError('CONFIRM_NOTHING', peer === undefined ? undefined : `${peer.name} is ${peer.class} already; nothing waits for a confirmation`, {
        details: { peer: peer?.name ?? did },
        next: 'kith peers',
      })
    }
    // The words cover both identities and the link on which their keys were shown.
    await this.#components.known.anchor(did)
    return await book.setClass(did, peer.pending, null)
  }

  async #joinOnce(ticket: Ticket, options: { readonly name?: string }, signal: AbortSignal): Promise<Joined> {
    const { book, clock, random, device, known } = this.#components
    const member = await this.#components.link(ticket, signal)
    const chain = await known.chain(ticket.did)
    if (chain === undefined) throw new KithError('LINK_LOST', 'the inviter was forgotten while pairing')
    checkTicketChain(ticket, { linkKey: member.link.linkKey, chain })
    const stream = await this.#components.openOn(member, PAIR_PROTOCOL, signal)
    const { did, name: ownName } = device()
    const result = await joinByTicket(stream, { ticket, context: member.context, did, name: ownName, clock, random, signal })
    // A ticket vouches for the history of its issuer. Above `known` its class counts here only once a person here says so, whatever the inviter trusts.
    known.adopt(anchorChain(chain))
    const { now, pending } = granted(ticket.class, false)
    const held = book.get(ticket.did)?.class
    const keeps = held !== undefined && atLeast(held, ticket.class)
    const peer = await book.add({
      did: ticket.did,
      name: options.name ?? result.inviterName,
      class: held !== undefined && atLeast(held, now) ? held : now,
      pending: keeps ? null : pending,
      met: 'ticket',
      addresses: ticket.urls.map((url) => ({ url, linkKey: ticket.linkKey })),
    })
    known.keep(ticket.did)
    const joined = { did: ticket.did, name: peer.name, words: result.words, class: peer.class, pending: peer.pending }
    this.#components.onPaired(joined)
    return joined
  }
}
