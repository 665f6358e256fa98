import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Scene, Side } from './support.ts'

/** The port of an address, whether or not a path follows it. */
const PORT = /:(\d+)(?=\/|$)/

/** Two ends of a transport on TCP, with a relay between them that can break every connection through it. `address`: where to listen. */
export async function relayed(side: () => Side, address: string): Promise<Scene> {
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
    dialer: side(),
    listener: side(),
    stranger: side().key,
    address,
    through: async (listening) => {
      target = Number(PORT.exec(listening)?.[1])
      return listening.replace(PORT, `:${(relay.address() as AddressInfo).port}`)
    },
    lose,
    close: async () => {
      lose()
      relay.close()
    },
  }
}
