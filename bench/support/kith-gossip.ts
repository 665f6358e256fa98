/**
 * 51 nodes of kith in one process, over encrypted loopback TCP: prints one JSON line when every link stands and an entry has reached everybody, then answers each
 * message `{count, size, width}` with what it took to deliver so many entries of one publisher to 50 subscribers.
 */
import { createAssembly } from '../../src/assembly/assembly.ts'
import type { Assembly } from '../../src/assembly/types.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { circulant, entryOf, type GossipAnswer, type GossipLoad, loopbackBytes } from './gossip-world.mjs'
import { makeDevice, tcpOf } from './link-ends.ts'

const NODES = 51
const TOPIC = 'bench:gossip'
const READY_MS = 60_000
const LOAD_MS = 120_000
/** What is measured is the work, not the budget of a member. */
const CONFIG = { mesh: { limits: { federated: { messagesPerSecond: 1_000_000, burst: 1_000_000 } } } }

const nodes: Assembly[] = []
let delivered = 0
let awaited = 0
let done = (): void => undefined

for (let i = 0; i < NODES; i++) {
  const device = makeDevice(true)
  const assembly = await createAssembly({
    device,
    store: createMemoryStore(),
    transports: [tcpOf(device)],
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    interfaces: () => [],
    config: CONFIG,
  })
  nodes.push(assembly)
  await assembly.gossip.define({ name: TOPIC, access: { kind: 'open' }, maxEntries: 1_000_000 })
  if (i > 0) {
    assembly.gossip.listen(TOPIC, () => {
      if (++delivered === awaited) done()
    })
  }
}
const urls = await Promise.all(nodes.map(async ({ mesh }) => (await mesh.listen('tcp://127.0.0.1:0'))[0] as string))
for (const node of nodes) {
  // Everybody knows everybody, as the members of a cooperative do, and nobody is linked with all of them.
  for (const peer of nodes) if (peer !== node) await node.mesh.book.add(peer.mesh.did, { class: 'federated' })
  await node.start()
}
for (const [from, to] of circulant(NODES)) await (nodes[from] as Assembly).mesh.dial((nodes[to] as Assembly).mesh.did, { url: urls[to] as string })
const first = nodes[0] as Assembly

const deadline = performance.now() + READY_MS
for (let whole = false; !whole && performance.now() < deadline; ) {
  const before = delivered
  await first.gossip.publish(TOPIC, entryOf(0, 16))
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  whole = delivered - before >= NODES - 1
}
process.stdout.write(`${JSON.stringify({ ready: true })}\n`)

process.on('message', async ({ count, size, width }: GossipLoad) => {
  delivered = 0
  awaited = count * (NODES - 1)
  const all = new Promise<void>((resolve) => {
    done = resolve
  })
  const bytes = loopbackBytes()
  let next = 0
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < count) {
        await first.gossip.publish(TOPIC, entryOf(next++, size))
        await new Promise((resolve) => setImmediate(resolve))
      }
    }),
  )
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, LOAD_MS))])
  const answer: GossipAnswer = { delivered, awaited, bytes: loopbackBytes() - bytes }
  process.send?.(answer)
})
process.on('disconnect', () => process.exit(0))
