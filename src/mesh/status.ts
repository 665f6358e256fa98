import { toHex } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'
import type { AddressBook, BookPeer } from './address-book.ts'
import type { Member } from './link-member.ts'
import type { Link, LinkTable } from './link-table.ts'
import type { NetworkStats } from './mesh-types.ts'
import type { RetryStatus } from './reconnect.ts'
import type { ChainStanding, LinkStatus, PeerClass } from './types.ts'

type Known = Pick<BookPeer, 'name' | 'class' | 'pending'> | undefined

/** A device that is linked. */
function linkStatus(link: Link, peer: Known, held: PeerClass, chain: ChainStanding | null): LinkStatus {
  const { current } = link
  const members = [...link.members]
  return {
    did: link.did,
    name: peer?.name ?? null,
    linkKey: link.key,
    state: current === undefined ? 'idle' : 'connected',
    class: held,
    pendingClass: peer?.pending ?? null,
    chain,
    path: current?.path ?? null,
    rttMs: current?.rttMs ?? null,
    since: current === undefined ? null : new Date(Math.min(...members.map(({ sinceMs }) => sinceMs))).toISOString(),
    // The control stream is ours, not a user's.
    streams: sum(members, ({ connection, controlAttached }) => Math.max(0, connection.streamCount - Number(controlAttached))),
    bytesIn: sum(members, ({ connection }) => connection.bytesIn),
    bytesOut: sum(members, ({ connection }) => connection.bytesOut),
    retryInMs: null,
    lastError: null,
  }
}

/** A peer of the address book without any link. */
function unlinkedStatus(peer: BookPeer, held: PeerClass, chain: ChainStanding | null, retry: RetryStatus, dialing: boolean): LinkStatus {
  const linkKey = peer.addresses.find((address) => address.linkKey !== undefined)?.linkKey
  return {
    did: peer.did,
    name: peer.name,
    linkKey: linkKey === undefined ? '' : toHex(linkKey),
    state: dialing ? 'connecting' : retry.state,
    class: held,
    pendingClass: peer.pending,
    chain,
    path: null,
    rttMs: null,
    since: null,
    streams: 0,
    bytesIn: 0,
    bytesOut: 0,
    retryInMs: retry.retryInMs,
    lastError: retry.lastError === undefined ? null : { code: retry.lastError.code, message: retry.lastError.message },
  }
}

export interface LinkListInput {
  readonly table: LinkTable
  readonly book: AddressBook
  readonly classOf: (did: Did) => PeerClass
  readonly chainOf: (did: Did) => ChainStanding | null
  readonly retryOf: (did: Did) => RetryStatus
  readonly dialing: (did: Did) => boolean
}

/** One entry per linked device, and one per peer of the address book without a link. */
export function linkList({ table, book, classOf, chainOf, retryOf, dialing }: LinkListInput): readonly LinkStatus[] {
  const linked = [...table.links()].filter(({ current }) => current !== undefined)
  const dids = new Set(linked.map(({ did }) => did))
  const unlinked = book.list().filter(({ did }) => !dids.has(did))
  return [
    ...linked.map((link) => linkStatus(link, book.get(link.did), classOf(link.did), chainOf(link.did))),
    ...unlinked.map((peer) => unlinkedStatus(peer, classOf(peer.did), chainOf(peer.did), retryOf(peer.did), dialing(peer.did))),
  ]
}

/** What all links together carry. */
export function linkTotals(table: LinkTable): Pick<NetworkStats, 'links' | 'connections' | 'streams' | 'bytesIn' | 'bytesOut'> {
  const members = [...table.members()]
  return {
    links: table.linked,
    connections: members.length,
    streams: streamsOf(members),
    bytesIn: sum(members, ({ connection }) => connection.bytesIn),
    bytesOut: sum(members, ({ connection }) => connection.bytesOut),
  }
}

export function streamsOf(members: Iterable<Member>): number {
  return sum(members, ({ connection }) => connection.streamCount)
}

function sum(members: Iterable<Member>, of: (member: Member) => number): number {
  let total = 0
  for (const member of members) total += of(member)
  return total
}
