import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import type { StoreOp } from '../../src/core/store/types.ts'
import { encodePayload } from '../../src/gossip/entry.ts'
import type { TopicOptions } from '../../src/gossip/types.ts'
import { topicHash } from '../../src/gossip/wire.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { MESSAGE_TYPE } from '../../src/mesh/messages/types.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Samples } from '../../src/testing/samples.ts'
import { createSimulation, type Simulation } from '../../src/testing/simulation.ts'
import { circulant, entryOf } from './gossip-world.mjs'

const NODES = 51
const TOPIC: TopicOptions = { name: 'bench:gossip', access: { kind: 'open' }, maxEntries: 1_000_000, maxBytes: 2 ** 30 }
const ENTRY_BYTES = 1_024
/** What is measured is the work, not the budgets. */
const CONFIG = { mesh: { limits: { isolated: { messagesPerSecond: 1_000_000, burst: 1_000_000 } } } }

/** One publisher and 50 nodes, virtual time, memory links. */
export class SimGossip {
  readonly #sim: Simulation
  /** When each entry was published, by its number. */
  readonly #published: Map<number, number> = new Map()
  #delivered = 0
  /** Where latencies are noted, while they are. */
  #samples: Samples | undefined

  private constructor(sim: Simulation) {
    this.#sim = sim
  }

  static async start(conditions: { readonly latencyMs: number; readonly jitterMs?: number }): Promise<SimGossip> {
    const sim = createSimulation({ seed: 1 })
    const world = new SimGossip(sim)
    const nodes = await sim.nodes(NODES, { config: CONFIG, onStart: (node) => world.#started(node) })
    const names = nodes.map(({ name }) => name)
    for (const [from, to] of circulant(NODES)) sim.link(names[from] as string, names[to] as string, { ...conditions, class: 'federated' })
    await sim.until(() => nodes.every((node) => node.linked().length === 6), { everyMs: 100 })
    // The first ones make the tree.
    await world.publish(20, 1_000)
    return world
  }

  /** As fast as they are taken: deliveries per second of wall time. */
  async throughput(count: number): Promise<number> {
    const started = performance.now()
    await this.publish(count, 0)
    return (count * (NODES - 1)) / ((performance.now() - started) / 1e3)
  }

  /** One every 200 ms: virtual ms from publishing to each delivery, and bytes per delivery. */
  async latency(count: number): Promise<{ readonly median: number; readonly p99: number; readonly bytes: number }> {
    const samples = this.#sim.samples('delivery')
    const bytes = this.#sim.traffic().bytes
    this.#samples = samples
    await this.publish(count, 200)
    this.#samples = undefined
    return { median: samples.median, p99: samples.percentile(99), bytes: (this.#sim.traffic().bytes - bytes) / samples.count }
  }

  async publish(count: number, everyMs: number): Promise<void> {
    const wanted = this.#delivered + count * (NODES - 1)
    const [first] = this.#sim.all()
    for (let left = count; left > 0; left--) {
      const number = this.#published.size
      this.#published.set(number, this.#sim.now)
      const publishing = (first as SimNode).assembly.gossip.publish(TOPIC.name, entryOf(number, ENTRY_BYTES))
      if (everyMs > 0) {
        await this.#sim.settle(publishing)
        await this.#sim.run({ forMs: everyMs })
      } else await turn()
    }
    await this.#sim.until(() => this.#delivered >= wanted, { everyMs: 1 })
  }

  close(): Promise<void> {
    return this.#sim.close()
  }

  async #started({ name, assembly: { gossip } }: SimNode): Promise<void> {
    await gossip.define(TOPIC)
    if (name === 'n000') return
    gossip.listen(TOPIC.name, ({ data }) => {
      this.#delivered++
      const at = this.#published.get(Buffer.from(data).readUInt32BE(0))
      if (at !== undefined) this.#samples?.add(this.#sim.now - at)
    })
  }
}

/**
 * Two nodes keep `count` entries together, of which each lacks `missing` that the other has: evenly spread over time, or the last ones. They are linked, and compare.
 */
export async function antiEntropy(options: {
  readonly count: number
  readonly missing: number
  readonly where: 'spread' | 'last'
}): Promise<{ readonly bytes: number; readonly all: number; readonly virtualMs: number; readonly seconds: number }> {
  const { count, missing, where } = options
  const sim = createSimulation({ seed: 2 })
  try {
    const author = await sim.node('author')
    const entries = signedEntries(author, count)
    const every = count / (2 * missing)
    const owner = (at: number): string | undefined => {
      if (where === 'last') return at < count - 2 * missing ? undefined : at % 2 === 0 ? 'a' : 'b'
      return at % every === 0 ? ((at / every) % 2 === 0 ? 'a' : 'b') : undefined
    }
    const papers = author.assembly.messages.directory.own()
    for (const name of ['a', 'b']) {
      const node = await sim.node(name, { onStart: ({ assembly }) => assembly.gossip.define(TOPIC) })
      await node.assembly.messages.directory.learn(papers)
      const kept = entries.filter((_, at) => owner(at) === undefined || owner(at) === name)
      for (let from = 0; from < kept.length; from += 1_000) await node.store.batch(kept.slice(from, from + 1_000))
      await node.stop()
      await node.restart()
    }
    const [a, b] = [sim.get('a'), sim.get('b')]
    const before = sim.traffic().bytes
    const started = performance.now()
    sim.link('a', 'b', { class: 'partner' })
    const virtualMs = await sim.until(() => keptBy(a) === count && keptBy(b) === count, { withinMs: 600_000, everyMs: 50 })
    const bytes = sim.traffic().bytes - before
    return { bytes, all: entries.reduce((sum, entry) => sum + entry.value.length, 0), virtualMs, seconds: (performance.now() - started) / 1e3 }
  } finally {
    await sim.close()
  }
}

function keptBy({ assembly: { gossip } }: SimNode): number {
  return gossip.topics().find(({ name }) => name === TOPIC.name)?.entries ?? 0
}

/** As they are kept in the store, one a second, the last one now. */
function signedEntries(author: SimNode, count: number): Extract<StoreOp, { type: 'put' }>[] {
  const { device } = author
  const from = didPublicKey(device.did)
  const hash = topicHash(TOPIC.name).subarray(0, 16)
  const now = author.clock.now()
  return Array.from({ length: count }, (_, at) => {
    const timeMs = now - (count - at) * 1_000
    const fields = { class: 'record', suite: 'ed25519', from, device: device.linkSigner.publicKey, topic: TOPIC.name, epoch: 1, seq: at + 1 } as const
    const payload = encodePayload({ references: [], data: randomBytes(ENTRY_BYTES) })
    const value = signEnvelope({ ...fields, timeMs, type: MESSAGE_TYPE.gossip, payload }, { ed25519: device.linkSigner, mldsa: undefined })
    const { id } = author.assembly.messages.readRecord(value)
    const key = Buffer.alloc(56)
    key.set(hash)
    key.writeBigUInt64BE(BigInt(timeMs), 16)
    key.set(id, 24)
    return { type: 'put', ns: 'gossip/entries', key, value }
  })
}
