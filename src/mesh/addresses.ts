import { isIP } from 'node:net'
import { MAX_URL } from './address-book-codec.ts'
import { isLoopback, isPrivate, neverByRange, parseIp } from './ip.ts'

/** A URL of a transport in pieces. `host` is without brackets. */
export interface AddressParts {
  readonly scheme: string
  readonly host: string
  readonly port: string
}

/** Addresses are told by peers and shown to people: nothing in one is unseen, and no letter looks like another. */
const PRINTABLE = /^[\x21-\x7e]+$/

/** `undefined` for what no transport could dial. */
export function splitAddress(url: string): AddressParts | undefined {
  const match = /^([a-z][a-z0-9+.-]{0,15}):\/\/(?:\[([0-9a-fA-F:.]+)\]|([^:/?#[\]@\s]+))(?::([0-9]{1,5}))?(?:[/?#][^\s]*)?$/.exec(url)
  if (match === null || url.length > MAX_URL || !PRINTABLE.test(url)) return undefined
  return { scheme: match[1] as string, host: (match[2] ?? match[3]) as string, port: match[4] ?? '' }
}

export function schemeOf(url: string): string {
  return url.slice(0, Math.max(0, url.indexOf(':')))
}

/**
 * What others can dial when we listen on `listening`: an unspecified address stands for those of the interfaces. Addresses beyond loopback come first;
 * link-local ones are left out, since they mean nothing on another machine. A machine without a network is still reached from itself.
 */
export function reachableAddresses(listening: readonly string[], interfaces: readonly string[]): readonly string[] {
  const out: string[] = []
  for (const url of listening) {
    const parts = splitAddress(url)
    if (parts === undefined || !UNSPECIFIED.has(parts.host)) {
      out.push(url)
      continue
    }
    const rest = /^[^/]+\/\/[^/]*(.*)$/.exec(url)?.[1] ?? ''
    const usable = interfaces.filter((address) => isIP(address) === 4 || (isIP(address) === 6 && parts.host === '::'))
    const beyond = usable.filter((address) => !never(address))
    for (const address of beyond.length > 0 ? beyond : usable.filter(isLoopbackText)) {
      out.push(`${parts.scheme}://${isIP(address) === 6 ? `[${address}]` : address}:${parts.port}${rest}`)
    }
  }
  return [...new Set(out)].sort((a, b) => Number(isLocal(a)) - Number(isLocal(b)))
}

/** The few of our addresses that go into a ticket: every scheme at the first host, then further hosts by the first scheme only. */
export function ticketAddresses(addresses: readonly string[], limit: number): readonly string[] {
  const first = splitAddress(addresses[0] ?? '')
  const host = (url: string): string | undefined => splitAddress(url)?.host
  const same = addresses.filter((url) => host(url) === first?.host)
  const others = addresses.filter((url) => host(url) !== first?.host)
  const further = others.filter((url) => schemeOf(url) === first?.scheme)
  return [...same.slice(0, 2), ...further, ...same.slice(2), ...others.filter((url) => !further.includes(url))].slice(0, limit)
}

/**
 * Which of the addresses that a peer tells us may be dialled. It could name any host of our network, so only literal addresses count (or the labels of
 * transports that have none), loopback only when the peer itself is on this machine, and addresses of a private network only when it is met in one: told from
 * elsewhere they name machines of ours, not its own.
 */
export function acceptableAddresses(told: readonly string[], from: string): readonly string[] {
  const sameMachine = isLocal(from)
  const met = parseIp(splitAddress(from)?.host ?? '')
  return acceptable(told, sameMachine, sameMachine || (met !== undefined && isPrivate(met)))
}

/** The same for what somebody announces on a network of ours, heard from this IP address: whoever is there may claim any identity, and still names no host of ours. */
export function announcedAddresses(told: readonly string[], source: string): readonly string[] {
  return acceptable(told, isLoopbackText(source), true)
}

function acceptable(told: readonly string[], sameMachine: boolean, near: boolean): readonly string[] {
  return told.filter((url) => {
    const parts = splitAddress(url)
    if (parts === undefined) return false
    if (parts.scheme === 'memory') return true
    const address = parseIp(parts.host)
    if (address === undefined || parts.port === '') return false
    if (isPrivate(address)) return near
    return !neverByRange(address) || (sameMachine && isLoopback(address))
  })
}

const UNSPECIFIED: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

function never(address: string): boolean {
  const parsed = parseIp(address)
  return parsed === undefined || neverByRange(parsed)
}

function isLoopbackText(address: string): boolean {
  const parsed = parseIp(address)
  return parsed !== undefined && isLoopback(parsed)
}

function isLocal(url: string): boolean {
  return isLoopbackText(splitAddress(url)?.host ?? '')
}
