import type { TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { createSigner, randomSeed } from '../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../src/core/random.ts'
import { WireDuplex } from '../../src/transport/memory/duplex.ts'
import { MemoryHub } from '../../src/transport/memory/network.ts'
import { WirePipe } from '../../src/transport/memory/pipe.ts'
import { multiplex } from '../../src/transport/mux/connection.ts'
import type { Connection, MultiplexOptions } from '../../src/transport/types.ts'

const KEY = createSigner('link', randomSeed(systemRandom)).publicKey

/** One multiplexer, and the raw bytes of its other end. */
export function muxAndDuplex(
  t: TestContext,
  role: 'dialer' | 'listener',
  options: MultiplexOptions = {},
  clock: Clock = systemClock,
): { mux: Connection; duplex: WireDuplex } {
  const [near, far] = new MemoryHub({}).wire('near', 'far', systemClock)
  const path = { scheme: 'memory', address: 'memory://test', direct: true }
  const mux = multiplex(new WirePipe(near), { role, localKey: KEY, remoteKey: KEY, path, postQuantum: false }, clock, options)
  const duplex = new WireDuplex(far)
  t.after(async () => {
    duplex.destroy()
    await mux.close()
  })
  return { mux, duplex }
}
