import assert from 'node:assert/strict'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import { encodePayload, type Reference } from '../../src/gossip/entry.ts'
import { FrameReader } from '../../src/gossip/frame-reader.ts'
import { createGossip, type GossipComponents } from '../../src/gossip/gossip.ts'
import { END, START } from '../../src/gossip/topic-index.ts'
import type { Gossip, GossipEntry, TopicOptions } from '../../src/gossip/types.ts'
import { type Bound, decodeFrame, encodeFrame, type Frame, GOSSIP_PROTOCOL, topicHash } from '../../src/gossip/wire.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
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

/** A machine that speaks the protocol and keeps none of its rules. */
export interface Hostile extends WorldNode {
  /** What the other side told it. */
  readonly frames: Frame[]
  /** Calls of `say` before this one opens are lost; sends a frame as it is. */
  say(frame: Frame): void
  raw(bytes: Uint8Array): void
  /** Whether the last stream it opened was reset, and with which number. */
  readonly reset: { number: number | undefined }
  /** A record with the next number, or whatever a test wants. */
  craft(fields?: Partial<Crafted>): Uint8Array
  framesOf<K extends Frame['kind']>(kind: K): Extract<Frame, { kind: K }>[]
}

export interface Crafted {
  readonly topic: string
  readonly data: Uint8Array
  readonly payload: Uint8Array
  readonly references: readonly Reference[]
  readonly from: Uint8Array
  readonly epoch: number
  readonly seq: number
  readonly timeMs: number
  readonly suite: 'ed25519' | 'hybrid'
}

/** Links a hostile machine with a victim, and opens its stream. `told`: also takes the victim's stream. */
export async function hostile(
  world: GossipWorld,
  name: string,
  victim: GossipNode,
  options: { class?: PeerClass; subscribe?: readonly string[]; deaf?: boolean } = {},
): Promise<Hostile> {
  const node = await world.node(name)
  const frames: Frame[] = []
  node.mesh.handleLean(
    GOSSIP_PROTOCOL,
    (stream) => {
      new FrameReader(stream, {
        wants: () => true,
        frame: (bytes) => void frames.push(decodeFrame(bytes)),
        fault: (error) => assert.fail(error),
        ready: () => options.deaf !== true,
      })
    },
    { access: 'handler' },
  )
  if (options.class !== undefined) await victim.mesh.book.add(node.mesh.did, { name, class: options.class })
  await node.mesh.book.add(victim.mesh.did, { name: victim.name, urls: [victim.url], class: 'partner' })
  await world.settle(node.mesh.dial(victim.mesh.did))
  if (options.class !== undefined) await world.settle(victim.mesh.anchor(node.mesh.did))
  const stream = await world.settle(node.mesh.openLean(victim.mesh.did, GOSSIP_PROTOCOL))
  const reset: { number: number | undefined } = { number: undefined }
  stream.onError = (error) => {
    reset.number ??= typeof error.details.number === 'number' ? error.details.number : error.number
  }
  let seq = 0
  const made: Hostile = {
    ...node,
    frames,
    reset,
    say: (frame) => void stream.write(encodeFrame(frame)),
    raw: (bytes) => void stream.write(bytes),
    framesOf: <K extends Frame['kind']>(kind: K) => frames.filter((frame): frame is Extract<Frame, { kind: K }> => frame.kind === kind),
    craft(fields = {}) {
      const { topic = 'news', data = Buffer.from(`${name} ${seq}`), references = [], from = node.device.didKey, epoch = 1, suite = 'ed25519' } = fields
      seq = fields.seq ?? seq + 1
      return signEnvelope(
        {
          class: 'record',
          suite,
          from,
          device: node.device.linkSigner.publicKey,
          topic,
          epoch,
          seq,
          timeMs: fields.timeMs ?? world.clock.now(),
          type: 1,
          payload: fields.payload ?? encodePayload({ references, data }),
        },
        { ed25519: node.device.linkSigner, mldsa: node.device.mldsaSigner },
      )
    },
  }
  const topics = options.subscribe ?? []
  if (topics.length > 0) made.say({ kind: 'subscribe', topics: topics.map((topic, i) => ({ handle: i + 1, topic: topicHash(topic) })) })
  await world.run(10)
  return made
}

export const EVERYTHING: { readonly from: Bound; readonly to: Bound } = { from: START, to: END }
