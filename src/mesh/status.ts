import { toHex } from '../core/bytes.ts'
import type { BookPeer } from './address-book.ts'
import type { Link } from './link-table.ts'
import type { RetryStatus } from './reconnect.ts'
import type { LinkStatus, PeerClass } from './types.ts'

type Known = Pick<BookPeer, 'name' | 'class' | 'pending'> | undefined

/** A device that is linked. */
export function linkStatus(link: Link, peer: Known, held: PeerClass): LinkStatus {
  const { current } = link
  const members = [...link.members]
  const sum = (of: (member: (typeof members)[number]) => number): number => members.reduce((total, member) => total + of(member), 0)
  return {
    did: link.did,
    name: peer?.name ?? null,
    linkKey: link.key,
    state: current === undefined ? 'idle' : 'connected',
    class: held,
    pendingClass: peer?.pending ?? null,
    path: current?.path ?? null,
    rttMs: current?.rttMs ?? null,
    since: current === undefined ? null : new Date(Math.min(...members.map(({ sinceMs }) => sinceMs))).toISOString(),
    // The control stream is ours, not a user's.
    streams: sum(({ connection, controlAttached }) => Math.max(0, connection.streamCount - Number(controlAttached))),
    bytesIn: sum(({ connection }) => connection.bytesIn),
    bytesOut: sum(({ connection }) => connection.bytesOut),
    retryInMs: null,
    lastError: null,
  }
}

/** A peer of the address book without any link. */
export function unlinkedStatus(peer: BookPeer, retry: RetryStatus, dialing: boolean): LinkStatus {
  const linkKey = peer.addresses.find((address) => address.linkKey !== undefined)?.linkKey
  return {
    did: peer.did,
    name: peer.name,
    linkKey: linkKey === undefined ? '' : toHex(linkKey),
    state: dialing ? 'connecting' : retry.state,
    class: peer.class,
    pendingClass: peer.pending,
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
