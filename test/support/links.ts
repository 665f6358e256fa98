import { systemClock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryNetwork, createMemoryTransport } from '../../src/transport/memory.ts'
import type { Channel, Connection } from '../../src/transport/types.ts'

export interface ConnectedPair {
  readonly near: Connection
  readonly far: Connection
  close(): Promise<void>
}

/** Two ends of one real multiplexed connection inside this process. */
export async function connectedPair(): Promise<ConnectedPair> {
  const network = createMemoryNetwork()
  const make = () => {
    const signer = createSigner('link', randomSeed(systemRandom))
    return { signer, transport: createMemoryTransport({ network, signer, random: systemRandom, clock: systemClock }) }
  }
  const [dialer, listener] = [make(), make()]
  let accepted: (channel: Channel) => void = () => {}
  const arriving = new Promise<Channel>((resolve) => {
    accepted = resolve
  })
  const server = await listener.transport.listen('memory://far', accepted)
  const channel = await dialer.transport.dial('memory://far', { expect: listener.signer.publicKey, signal: AbortSignal.timeout(5_000) })
  const near = channel.multiplex()
  const far = (await arriving).multiplex()
  return {
    near,
    far,
    async close() {
      await near.close()
      await far.close()
      await server.close()
      dialer.signer.close()
      listener.signer.close()
    },
  }
}
