import { systemClock } from '../../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createTcpTransport } from '../../../src/transport/tcp.ts'
import { relayed } from '../relayed.ts'
import type { Setup, Side } from '../support.ts'

export function tcpSide(): Side {
  const signer = createSigner('link', randomSeed(systemRandom))
  return { transport: createTcpTransport({ signer, clock: systemClock, random: systemRandom }), key: signer.publicKey }
}

export const setup: Setup = () => relayed(tcpSide, 'tcp://127.0.0.1:0')
