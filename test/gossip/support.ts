import assert from 'node:assert/strict'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createGossip, type GossipComponents } from '../../src/gossip/gossip.ts'
import type { Gossip, GossipEntry, TopicOptions } from '../../src/gossip/types.ts'
import type { PeerClass } from '../../src/mesh/types.ts'
import { createWorld, type NodeOptions, type World, type WorldNode } from '../mesh/mesh-support.ts'

export interface GossipNode extends WorldNode {
  readonly gossip: Gossip
  /** Texts of entries as they were delivered, by topic. */
  readonly heard: Map<string, string[]>
  hears(topic: string): string[]
}

export interface GossipWorld extends World {
  gossip(name: string, options?: GossipOptions): Promise<GossipNode>
  /** Links two nodes; each gives the other a class. */
  link(a: GossipNode, b: GossipNode, classes?: PeerClass): Promise<void>
}

export interface GossipOptions extends NodeOptions {
  readonly topics?: readonly (string | TopicOptions)[]
  readonly gossip?: Partial<GossipComponents>
  readonly replay?: boolean
}

export function gossipWorld(): GossipWorld {
  const world = createWorld()
  const all: Gossip[] = []
  return {
    ...world,
    async gossip(name, options = {}) {
      const { topics = ['news'], gossip: given = {}, replay = false, ...rest } = options
      const node = await world.node(name, rest)
      const gossip = await createGossip({
        mesh: node.mesh,
        messages: node.mesh.messages,
        store: node.store,
        clock: world.clock,
        random: seededRandom(`gossip ${name}`),
        logger: silentLogger,
        ...given,
      })
      all.push(gossip)
      const heard = new Map<string, string[]>()
      const hears = (topic: string): string[] => heard.get(topic) ?? []
      for (const topic of topics) {
        const rules: TopicOptions = typeof topic === 'string' ? { name: topic, access: { kind: 'open' } } : topic
        await gossip.define(rules)
        heard.set(rules.name, [])
        gossip.listen(rules.name, (entry) => heard.get(rules.name)?.push(textOf(entry)), { replay })
      }
      await gossip.start()
      return { ...node, gossip, heard, hears }
    },
    async link(a, b, classes = 'partner') {
      await a.mesh.book.add(b.mesh.did, { name: b.name, urls: [b.url], class: classes })
      await b.mesh.book.add(a.mesh.did, { name: a.name, class: classes })
      await world.settle(a.mesh.dial(b.mesh.did))
      await world.run(10)
    },
    async close() {
      await Promise.all(all.map((gossip) => gossip.close()))
      await world.close()
    },
  }
}

export function textOf(entry: GossipEntry): string {
  return Buffer.from(entry.data).toString()
}

export function subscribersOf(node: GossipNode, topic: string): number {
  return node.gossip.topics().find(({ name }) => name === topic)?.subscribers ?? 0
}

export function entriesOf(node: GossipNode, topic: string): number {
  return node.gossip.topics().find(({ name }) => name === topic)?.entries ?? 0
}

/** The ids of what each node keeps are the same everywhere. */
export async function assertEqualState(nodes: readonly GossipNode[], topic: string): Promise<void> {
  const kept = await Promise.all(
    nodes.map(async ({ gossip }) => (await gossip.entries(topic, { limit: 1_000 })).map(({ id }) => Buffer.from(id).toString('hex'))),
  )
  for (const ids of kept) assert.deepEqual(ids, kept[0])
}
