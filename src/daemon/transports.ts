import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { LocalDevice } from '../identity/device.ts'
import { createQuicTransport, quicAvailability } from '../transport/quic/index.ts'
import { createTcpTransport } from '../transport/tcp.ts'
import type { Transport } from '../transport/types.ts'

export interface TransportParts {
  readonly device: LocalDevice
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Every kind of path this machine can carry, made for one device key. */
export function createTransports({ device, clock, random, logger }: TransportParts): readonly Transport[] {
  const tcp = createTcpTransport({ signer: device.linkSigner, clock, random, logger })
  if (!quicAvailability().ok) return [tcp]
  return [tcp, createQuicTransport({ seed: device.content.seeds.ed25519, clock, random, logger })]
}
