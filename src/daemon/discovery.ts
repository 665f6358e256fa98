import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Discovery } from '../mesh/discovery.ts'
import type { Config } from './config/settings.ts'

export interface DiscoveryParts {
  readonly config: Config
  /** Where the node will listen. */
  readonly listen: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

const LOOPBACK = /^[a-z0-9+.-]+:\/\/(127\.|\[::1\]|localhost)/

/** Ways of being found on the local network. A node that listens on loopback only announces nothing: nobody could reach it. */
export async function createDiscovery({ config, listen }: DiscoveryParts): Promise<readonly Discovery[]> {
  if (!config['discovery.mdns'] || listen.every((url) => LOOPBACK.test(url))) return []
  return []
}
