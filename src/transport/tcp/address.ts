import { isIP } from 'node:net'
import { KithError } from '../../core/errors.ts'

export interface HostPort {
  /** IPv4, IPv6 without brackets, or a name. */
  readonly host: string
  readonly port: number
}

/** `tcp://HOST:PORT`, IPv6 in brackets, nothing else in the URL. @throws KithError `ADDRESS_INVALID`. */
export function parseAddress(address: string, lowestPort: 0 | 1): HostPort {
  const match = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})\/?$/.exec(address)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || (match?.[1] !== undefined && isIP(host) !== 6) || port < lowestPort || port > 65_535) {
    throw new KithError('ADDRESS_INVALID', 'A TCP address is written tcp://HOST:PORT.', { details: { address: address.slice(0, 300) } })
  }
  return { host, port }
}

export function formatAddress({ host, port }: HostPort): string {
  return host.includes(':') ? `tcp://[${host}]:${port}` : `tcp://${host}:${port}`
}

/** An IPv4 address that came in through an IPv6 socket, written as what it is. */
export function plainHost(host: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1] ?? host
}
