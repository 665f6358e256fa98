import type { Path, Source } from '../transport/types.ts'
import { isLoopback, parseIp } from './ip.ts'

/** What one host can spend before it has proved anything, and what its neighbourhood can. */
export interface SourceKeys {
  /** One IPv4 address, one IPv6 /64, or the label of a transport that has no addresses. */
  readonly source: string
  /** The /24 or /48 around it: what one customer of a provider gets at most. */
  readonly network: string
  readonly loopback: boolean
}

/** An IPv6 form of an IPv4 address counts as that IPv4 address. */
export function sourceKeys(host: string): SourceKeys {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  const address = parseIp(bare.split('%')[0] as string)
  if (address === undefined) return { source: `=${host.slice(0, 256)}`, network: `=${host.slice(0, 256)}`, loopback: false }
  const v4 = address.subarray(0, 10).every((byte) => byte === 0) && address[10] === 0xff && address[11] === 0xff
  const key = (bytes: number): string => Buffer.from(address.subarray(0, bytes)).toString('hex')
  const [source, network] = v4 ? [key(16), key(15)] : [key(8), key(6)]
  return { source, network, loopback: isLoopback(address) }
}

/** Where a channel comes from. A relayed one is charged to its relay: the address behind it is only a claim. */
export function sourceOfPath(path: Path): Source {
  const address = path.via ?? path.address
  try {
    const url = new URL(address)
    return { scheme: path.scheme, host: url.hostname === '' ? address : url.hostname, port: Number(url.port) }
  } catch {
    return { scheme: path.scheme, host: address, port: 0 }
  }
}
