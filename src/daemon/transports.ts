import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { LocalDevice } from '../identity/device.ts'
import type { ProxyRoute } from '../transport/proxy.ts'
import { createQuicTransport, quicAvailability } from '../transport/quic/index.ts'
import { createTcpTransport } from '../transport/tcp.ts'
import type { Transport } from '../transport/types.ts'
import { besideProxies } from './proxies.ts'

export interface TransportParts {
  readonly device: LocalDevice
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** What is dialled through proxies. */
  readonly proxies: ProxyRoute
}

/** Every kind of path this machine can carry, made for one device key. */
export function createTransports({ device, clock, random, logger, proxies }: TransportParts): readonly Transport[] {
  const tcp = createTcpTransport({ signer: device.linkSigner, clock, random, logger, proxies })
  if (!quicAvailability().ok) return [tcp]
  return [tcp, besideProxies(createQuicTransport({ seed: device.content.seeds.ed25519, clock, random, logger }), proxies)]
}
