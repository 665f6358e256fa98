import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { systemClock } from '../../../src/core/clock.ts'
import { publicKeyOfSeed, randomSeed } from '../../../src/core/crypto/ed25519.ts'
import { systemRandom } from '../../../src/core/random.ts'
import { createTlsTransport } from '../../../src/transport/tls.ts'
import type { Scene, Setup, Side } from '../support.ts'

export function tlsSide(): Side {
  const seed = randomSeed(systemRandom)
  return { transport: createTlsTransport({ seed, clock: systemClock, random: systemRandom }), key: publicKeyOfSeed(seed) }
}

export const setup: Setup = async (): Promise<Scene> => {
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    return socket
  }
  let target = 0
  const relay = createServer({ allowHalfOpen: true }, (near) => {
    const far = keep(connect({ port: target, host: '127.0.0.1', allowHalfOpen: true }))
    keep(near).pipe(far)
    far.pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const lose = (): void => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    dialer: tlsSide(),
    listener: tlsSide(),
    stranger: tlsSide().key,
    address: 'tls://127.0.0.1:0',
    through: async (address) => {
      target = Number(address.split(':').at(-1))
      return `tls://127.0.0.1:${(relay.address() as AddressInfo).port}`
    },
    lose,
    close: async () => {
      lose()
      relay.close()
    },
  }
}
