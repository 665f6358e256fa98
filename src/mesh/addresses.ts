import { isIP } from 'node:net'
import { MAX_URL } from './address-book-codec.ts'
import { isLoopback, neverByRange, parseIp } from './ip.ts'

/** A URL of a transport in pieces. `host` is without brackets. */
export interface AddressParts {
  readonly scheme: string
  readonly host: string
  readonly port: string
}

/** `undefined` for what no transport could dial. */
export function splitAddress(url: string): AddressParts | undefined {
  const match = /^([a-z][a-z0-9+.-]{0,15}):\/\/(?:\[([0-9a-fA-F:.]+)\]|([^:/?#[\]@\s]+))(?::([0-9]{1,5}))?(?:[/?#][^\s]*)?$/.exec(url)
  if (match === null || url.length > MAX_URL) return undefined
  return { scheme: match[1] as string, host: (match[2] ?? match[3]) as string, port: match[4] ?? '' }
}

export function schemeOf(url: string): string {
  return url.slice(0, Math.max(0, url.indexOf(':')))
}

/**
 * What others can dial when we listen on `listening`: an unspecified address stands for those of the interfaces. Addresses beyond loopback come first;
 * link-local ones are left out, since they mean nothing on another machine.
 */
export function reachableAddresses(listening: readonly string[], interfaces: readonly string[]): readonly string[] {
  const out: string[] = []
  for (const url of listening) {
    const parts = splitAddress(url)
    if (parts === undefined || (parts.host !== '0.0.0.0' && parts.host !== '::')) {
      out.push(url)
      continue
    }
    for (const address of interfaces) {
      const family = isIP(address)
      const parsed = parseIp(address)
      if (parsed === undefined || neverByRange(parsed) || (parts.host === '0.0.0.0' && family === 6)) continue
      out.push(`${parts.scheme}://${family === 6 ? `[${address}]` : address}:${parts.port}`)
    }
  }
  // A machine without any network still reaches itself: two homes on it can pair.
  if (out.length === 0)
    for (const { scheme, port } of listening.map(splitAddress).filter((parts) => parts !== undefined)) out.push(`${scheme}://127.0.0.1:${port}`)
  return [...new Set(out)].sort((a, b) => Number(isLocal(a)) - Number(isLocal(b)))
}

/**
 * Which of the addresses that a peer tells us may be dialled. It could name any host of our network, so only literal addresses count (or the labels of
 * transports that have none), and loopback only when the peer itself is on this machine.
 */
export function acceptableAddresses(told: readonly string[], from: string): readonly string[] {
  const sameMachine = isLocal(from)
  return told.filter((url) => {
    const parts = splitAddress(url)
    if (parts === undefined) return false
    if (parts.scheme === 'memory') return true
    const address = parseIp(parts.host)
    if (address === undefined || parts.port === '') return false
    return !neverByRange(address) || (sameMachine && isLoopback(address))
  })
}

function isLocal(url: string): boolean {
  const host = splitAddress(url)?.host
  const address = host === undefined ? undefined : parseIp(host)
  return address !== undefined && isLoopback(address)
}
