import { systemClock } from '../../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../../src/transport/memory.ts'
import type { Scene, Setup } from '../support.ts'

export function memorySetup(options: { secure?: boolean; latencyMs?: number }): Setup {
  return async (): Promise<Scene> => {
    const network = createMemoryNetwork(options.latencyMs === undefined ? {} : { latencyMs: options.latencyMs })
    const side = (name: string) => {
      const signer = createSigner('link', randomSeed(systemRandom))
      return {
        transport: createMemoryTransport({ network, signer, random: systemRandom, clock: systemClock, name, secure: options.secure ?? false }),
        key: signer.publicKey,
      }
    }
    return {
      dialer: side('near'),
      listener: side('far'),
      stranger: side('stranger').key,
      address: 'memory://far',
      through: async (address) => address,
      lose: () => network.sever('near', 'far'),
      close: async () => {},
    }
  }
}

export const setup: Setup = memorySetup({})
