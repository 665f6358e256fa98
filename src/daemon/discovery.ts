import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Did } from '../identity/did.ts'
import type { Discovery } from '../mesh/discovery.ts'
import { createMdns } from '../mesh/mdns/index.ts'
import type { Config } from './config/settings.ts'

export interface DiscoveryParts {
  readonly config: Config
  /** Where the node will listen. */
  readonly listen: readonly string[]
  /** Peers whose hidden announcements are recognised. */
  readonly known: () => Iterable<Did>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** IPv4 addresses of this machine. Default: asked of the system. */
  readonly addresses?: readonly string[]
}

const LOOPBACK = /^[a-z0-9+.-]+:\/\/(127\.|\[::1\]|localhost)/

/**
 * Ways of being found on the local network. A node that listens on loopback only announces nothing: nobody could reach it.
 * Networks of `discovery.home_networks` get the DID itself; the others, and all when none is marked, a name that changes every day.
 */
export function createDiscovery({ config, listen, addresses = ownAddresses(), ...parts }: DiscoveryParts): readonly Discovery[] {
  if (!config['discovery.mdns'] || listen.every((url) => LOOPBACK.test(url))) return []
  const home = inNetworks(addresses, config['discovery.home_networks'])
  if (home.length === 0) return [createMdns(parts)]
  const away = addresses.filter((address) => !home.includes(address))
  return [createMdns({ ...parts, home: true, interfaces: home }), ...(away.length === 0 ? [] : [createMdns({ ...parts, interfaces: away })])]
}

function ownAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((entries) => entries ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address)
}

function inNetworks(addresses: readonly string[], networks: readonly string[]): readonly string[] {
  const list = new BlockList()
  for (const network of networks) {
    const [base = '', prefix = ''] = network.split('/')
    list.addSubnet(base, Number(prefix), isIP(base) === 6 ? 'ipv6' : 'ipv4')
  }
  return addresses.filter((address) => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
}
