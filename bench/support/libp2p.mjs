// js-libp2p over TCP with noise and yamux, as its own documentation sets it up. Plain JavaScript: its packages do not type-check under this configuration.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

export const BULK = '/bench/bulk/1.0.0'

/** Without the limits on connections per second that a flood of handshakes from one address would meet. */
export async function startNode(listen = []) {
  return await createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { maxConnections: 1e6, maxIncomingPendingConnections: 1e6, inboundConnectionThreshold: 1e6 },
  })
}

/** A connection of its own, not one that is there already. */
export async function connect(node, address) {
  return await node.dial(multiaddr(address), { force: true })
}

/** The far end: counts what a stream brings and answers with the count. */
export async function serveBulk(node) {
  await node.handle(BULK, (stream) => {
    let count = 0
    stream.addEventListener('message', ({ data }) => {
      count += data.byteLength
    })
    stream.addEventListener('remoteCloseWrite', () => {
      stream.send(Buffer.from(String(count)))
      void stream.close().catch(() => {})
    })
  })
}
