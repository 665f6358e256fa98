// 51 nodes of js-libp2p with gossipsub in one process, over encrypted loopback TCP, as its documentation sets it up: prints one JSON line when the mesh stands, then
// answers each message `{count, size, width}` with what it took to deliver so many messages of one publisher to 50 subscribers.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import { circulant, entryOf, loopbackBytes } from './gossip-world.mjs'

const NODES = 51
const TOPIC = 'bench'

const nodes = await Promise.all(
  Array.from({ length: NODES }, () =>
    createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      // On a machine that does other work as well its pings come too late, and it would end connections that are only busy.
      connectionMonitor: { enabled: false },
      connectionManager: { maxConnections: 1e6, maxIncomingPendingConnections: 1e6, inboundConnectionThreshold: 1e6 },
      services: { identify: identify(), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true, maxInboundDataLength: 1 << 24 }) },
    }),
  ),
)
for (const [from, to] of circulant(NODES)) await nodes[from].dial(nodes[to].getMultiaddrs()[0])
let delivered = 0
let awaited = 0
let done = () => {}
nodes.forEach((node, i) => {
  node.services.pubsub.subscribe(TOPIC)
  if (i === 0) return
  node.services.pubsub.addEventListener('message', () => {
    if (++delivered === awaited) done()
  })
})
/** The mesh is there when one message reaches everybody. */
const deadline = performance.now() + 30_000
for (let whole = false; !whole && performance.now() < deadline; ) {
  const before = delivered
  await nodes[0].services.pubsub.publish(TOPIC, Buffer.from(String(performance.now())))
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  whole = delivered - before >= NODES - 1
}
process.stdout.write(`${JSON.stringify({ ready: true })}\n`)

process.on('message', async ({ count, size, width }) => {
  delivered = 0
  awaited = count * (NODES - 1)
  const all = new Promise((resolve) => {
    done = resolve
  })
  const bytes = loopbackBytes()
  let next = 0
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < count) {
        await nodes[0].services.pubsub.publish(TOPIC, entryOf(next++, size))
        await new Promise((resolve) => setImmediate(resolve))
      }
    }),
  )
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 120_000))])
  process.send({ delivered, awaited, bytes: loopbackBytes() - bytes })
})
process.on('disconnect', () => process.exit(0))
