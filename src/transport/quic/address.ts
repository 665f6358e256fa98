import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { KithError } from '../../core/errors.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface Endpoint {
  readonly ip: string
  readonly family: 4 | 6
}

/** `quic://HOST:PORT`, nothing else in the URL. @throws KithError `ADDRESS_INVALID`. */
export function parseAddress(address: string, lowestPort: 0 | 1): HostPort {
  const match = /^quic:\/\/(?:\[([0-9a-fA-F:.]+)\]|([^/?#@:[\]\s]{1,253})):(\d{1,5})\/?$/.exec(address)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  const valid = host !== undefined && (match?.[1] === undefined || isIP(host) === 6) && port >= lowestPort && port <= 65_535
  if (!valid) throw new KithError('ADDRESS_INVALID', 'a QUIC address is written quic://HOST:PORT', { details: { address: address.slice(0, 300) } })
  return { host, port }
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `quic://[${host}]:${port}` : `quic://${host}:${port}`
}

/** The library takes addresses, not names. @throws KithError `ADDRESS_UNREACHABLE` when the name has none. */
export async function resolveHost(host: string): Promise<readonly Endpoint[]> {
  const family = isIP(host)
  if (family !== 0) return [{ ip: host, family: family === 6 ? 6 : 4 }]
  try {
    const found = await lookup(host, { all: true })
    return found.map(({ address, family: kind }) => ({ ip: address, family: kind === 6 ? 6 : 4 }))
  } catch (cause) {
    throw new KithError('ADDRESS_UNREACHABLE', `the name ${host} has no address`, { details: { host }, cause })
  }
}
