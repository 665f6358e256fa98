import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { toHex } from '../../src/core/bytes.ts'
import type { Gossip, GossipEntry, TopicOptions } from '../../src/gossip/types.ts'
import type { SimNode, SimNodeOptions } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { CLASSICAL, keepPapers } from './support.ts'

export const TOPIC: TopicOptions = { name: 'room:sim', access: { kind: 'open' } }

export interface WorldOptions {
  readonly topic?: TopicOptions
  /** Without the topics that every node has: papers of all for all, which many nodes compute long on. */
  readonly bare?: boolean
  readonly node?: SimNodeOptions
}

const PAGE = 1_000

/** A topic on every node of a simulation, what was published to it, and who was delivered what and when. */
export class GossipWorld {
  /** For the nodes: they take part in the topic after each start. */
  readonly options: SimNodeOptions
  readonly #sim: Simulation
  readonly #topic: TopicOptions
  readonly #bare: boolean
  /** Virtual time of each publish, by id. */
  readonly #published = new Map<string, number>()
  #deliveries = 0
  #twice = 0

  constructor(sim: Simulation, { topic = TOPIC, bare = false, node = CLASSICAL }: WorldOptions = {}) {
    this.#sim = sim
    this.#bare = bare
    this.#topic = topic
    this.options = { ...node, onStart: (node) => this.#start(node) }
  }

  of(node: SimNode): Gossip {
    return node.assembly.gossip
  }

  async publish(node: SimNode, bytes = 1_024): Promise<void> {
    const data = this.#sim.random.bytes(bytes)
    const { id } = await this.#sim.settle(this.of(node).publish(this.#topic.name, data))
    this.#published.set(toHex(id), this.#sim.now)
  }

  /** Entries that were published and answered to whoever did. */
  get published(): number {
    return this.#published.size
  }

  /** Times an entry reached a node that had not written it. */
  get deliveries(): number {
    return this.#deliveries
  }

  /** Whether every node runs and keeps as many entries as were published. */
  complete(): boolean {
    return this.#sim.all().every((node) => node.running && this.kept(node) >= this.published)
  }

  kept(node: SimNode): number {
    return (
      this.of(node)
        .topics()
        .find(({ name }) => name === this.#topic.name)?.entries ?? 0
    )
  }

  /** All nodes keep the same entries, among them every one that was published, and nobody was given one twice. */
  async check(): Promise<void> {
    const states = new Set<string>()
    for (const node of this.#sim.all()) {
      const ids = await this.#ids(node)
      const known = new Set(ids)
      const missing = [...this.#published.keys()].filter((id) => !known.has(id))
      assert.equal(missing.length, 0, `${node.name} lacks ${missing.length} of ${this.published} entries`)
      states.add(createHash('sha256').update(ids.join()).digest('hex'))
    }
    assert.equal(states.size, 1, `${states.size} different states`)
    assert.equal(this.#twice, 0, 'entries were delivered twice')
    this.#sim.note(...states)
  }

  async #ids(node: SimNode): Promise<string[]> {
    const ids: string[] = []
    let page: readonly GossipEntry[]
    let after: Uint8Array | undefined
    do {
      page = await this.#sim.settle(this.of(node).entries(this.#topic.name, { limit: PAGE, ...(after === undefined ? {} : { after }) }))
      ids.push(...page.map(({ id }) => toHex(id)))
      after = page.at(-1)?.id
    } while (page.length === PAGE)
    return ids
  }

  async #start(node: SimNode): Promise<void> {
    const { gossip } = node.assembly
    if (this.#bare) await keepPapers(node)
    const seen = new Set<string>()
    await gossip.define(this.#topic)
    gossip.listen(this.#topic.name, ({ id, author }) => {
      if (author === node.did) return
      const key = toHex(id)
      if (seen.has(key)) this.#twice++
      seen.add(key)
      this.#deliveries++
      this.#sim.samples('delivery').add(this.#sim.now - (this.#published.get(key) ?? this.#sim.now))
    })
  }
}
