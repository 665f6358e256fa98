import { isIP } from 'node:net'
import { KithError } from '../../core/errors.ts'

export interface HostPort {
  /** IPv4, IPv6 without brackets, or a name. */
  readonly host: string
  readonly port: number
}

/** `SCHEME://HOST:PORT`, IPv6 in brackets, nothing else in the URL. @throws KithError `ADDRESS_INVALID`. */
export function parseAddress(address: string, lowestPort: 0 | 1, scheme: 'tcp' | 'tls' = 'tcp'): HostPort {
  const match = /^([a-z]{3}):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})\/?$/.exec(address)
  const host = match?.[2] ?? match?.[3]
  const port = Number(match?.[4])
  if (host === undefined || match?.[1] !== scheme || (match[2] !== undefined && isIP(host) !== 6) || port < lowestPort || port > 65_535) {
    throw new KithError('ADDRESS_INVALID', `A ${scheme.toUpperCase()} address is written ${scheme}://HOST:PORT.`, {
      details: { address: address.slice(0, 300) },
    })
  }
  return { host, port }
}

export function formatAddress({ host, port }: HostPort, scheme = 'tcp'): string {
  return host.includes(':') ? `${scheme}://[${host}]:${port}` : `${scheme}://${host}:${port}`
}

/** An IPv4 address that came in through an IPv6 socket, written as what it is. */
export function plainHost(host: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1] ?? host
}
