import { BlockList, isIP } from 'node:net'
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
}

const LOOPBACK = /^[a-z0-9+.-]+:\/\/(127\.|\[::1\]|localhost)/

/**
 * Ways of being found on the local network. A node that listens on loopback only announces nothing: nobody could reach it.
 * Networks of `discovery.home_networks` get the DID itself; the others, and all when none is marked, a name that changes every day.
 */
export function createDiscovery({ config, listen, ...parts }: DiscoveryParts): readonly Discovery[] {
  if (!config['discovery.mdns'] || listen.every((url) => LOOPBACK.test(url))) return []
  const home = new BlockList()
  for (const network of config['discovery.home_networks']) {
    const [base = '', prefix = ''] = network.split('/')
    home.addSubnet(base, Number(prefix), isIP(base) === 6 ? 'ipv6' : 'ipv4')
  }
  return [createMdns({ ...parts, home: (address) => home.check(address, 'ipv4') })]
}
