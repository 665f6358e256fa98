import { systemClock } from '../../../src/core/clock.ts'
import { publicKeyOfSeed, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createTlsTransport } from '../../../src/transport/tls.ts'
import { relayed } from '../relayed.ts'
import type { Setup, Side } from '../support.ts'

export function tlsSide(): Side {
  const seed = randomSeed(systemRandom)
  return { transport: createTlsTransport({ seed, clock: systemClock, random: systemRandom }), key: publicKeyOfSeed(seed) }
}

export const setup: Setup = () => relayed(tlsSide, 'tls://127.0.0.1:0')
