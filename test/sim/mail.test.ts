import assert from 'node:assert/strict'
import { startChurn } from '../../src/testing/churn.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { LinkOptions, Simulation } from '../../src/testing/simulation.ts'
import type { Edge } from '../../src/testing/topology.ts'
import { linkedNodes, scenario } from './support.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const WAN: LinkOptions = { latencyMs: 30, jitterMs: 20, class: 'partner' }

function neighbours(edges: readonly Edge[], name: string): string[] {
  return edges.flatMap(([a, b]) => (a === name ? [b] : b === name ? [a] : []))
}

/** Every node lets two of its neighbours keep its messages, and they agree. */
async function agree(sim: Simulation, edges: readonly Edge[]): Promise<void> {
  for (const node of sim.all()) {
    const hosts = neighbours(edges, node.name)
      .slice(0, 2)
      .map((name) => sim.get(name))
    for (const host of hosts) await sim.settle(host.assembly.mail.host(node.did))
    await sim.settle(node.assembly.mail.useHosts(hosts.map(({ did }) => did)))
  }
  await sim.run({ forMs: 5 * MINUTE_MS })
}

/** Told messages by addressee: those of which the sender was told that they are durable. */
class Post {
  readonly #sim: Simulation
  readonly #edges: readonly Edge[]
  readonly #told = new Map<string, Set<string>>()
  #count = 0
  #tried = 0

  constructor(sim: Simulation, edges: readonly Edge[]) {
    this.#sim = sim
    this.#edges = edges
  }

  get told(): number {
    return this.#count
  }

  /** One message from a node that runs to a neighbour of it, running or not. */
  tell(): void {
    const running = this.#sim.all().filter((node) => node.running)
    const from = this.#pick(running)
    const to = this.#pick(neighbours(this.#edges, from?.name ?? ''))
    if (from === undefined || to === undefined) return
    const text = `${from.name} to ${to}, ${this.#tried++}`
    // A sender that crashes in the middle never hears of it; then the message may arrive or not.
    from.assembly.mail.tell(this.#sim.get(to).did, text, { waitMs: 0 }).then(
      () => {
        this.#count++
        this.#told.set(to, (this.#told.get(to) ?? new Set()).add(text))
      },
      () => undefined,
    )
  }

  /** Whether all that was told has come. */
  arrived(): boolean {
    return this.#sim.all().every((node) => node.running && node.assembly.mail.status().inbox.messages >= (this.#told.get(node.name)?.size ?? 0))
  }

  /** Everything told is there, and nothing twice. */
  async check(): Promise<void> {
    for (const node of this.#sim.all()) {
      const texts = await all(this.#sim, node)
      assert.equal(new Set(texts).size, texts.length, `${node.name} has a message twice`)
      for (const text of this.#told.get(node.name) ?? []) assert.ok(texts.includes(text), `${node.name} lacks: ${text}`)
    }
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#sim.random.unit() * items.length)]
  }
}

async function all(sim: Simulation, node: SimNode): Promise<(string | undefined)[]> {
  const texts: (string | undefined)[] = []
  for (let after = 0; ; ) {
    const page = await sim.settle(node.assembly.mail.inbox({ after, limit: 500 }))
    texts.push(...page.map(({ text }) => text))
    const last = page.at(-1)
    if (last === undefined) return texts
    after = last.cursor
  }
}

for (const what of ['process', 'machine'] as const) {
  scenario(`mail among 12 nodes of which a tenth is lost each minute by a failing ${what}, comes once and none is lost`, async (sim) => {
    const edges = await linkedNodes(sim, 12, 4, WAN)
    await agree(sim, edges)
    const post = new Post(sim, edges)
    const churn = startChurn(sim, { perMinute: 0.1, crash: { of: what } })
    for (let i = 0; i < 150; i++) {
      post.tell()
      await sim.run({ forMs: 8_000 })
    }
    churn.stop()
    const since = sim.now
    await sim.until(() => sim.all().every(({ running }) => running), { withinMs: HOUR_MS, everyMs: 1_000 })
    await sim.until(() => post.arrived(), { withinMs: 3 * HOUR_MS, everyMs: 1_000 })
    await sim.run({ forMs: 10 * MINUTE_MS })
    await post.check()
    assert.ok(post.told > 100)
    return `${post.told} messages, the last ${((sim.now - since) / 1_000 - 600).toFixed(0)} virtual s after the churn`
  })
}

scenario('mail to a third that is cut off for ninety minutes, waits at hosts on its side of the cut and comes once', async (sim) => {
  const edges = await linkedNodes(sim, 12, 4, WAN)
  await agree(sim, edges)
  const post = new Post(sim, edges)
  const names = sim.all().map(({ name }) => name)
  sim.partition(names.slice(0, 4))
  for (let i = 0; i < 60; i++) {
    post.tell()
    await sim.run({ forMs: (90 * MINUTE_MS) / 60 })
  }
  sim.heal()
  const since = sim.now
  await sim.until(() => post.arrived(), { withinMs: 3 * HOUR_MS, everyMs: 1_000 })
  const took = ((sim.now - since) / 1_000).toFixed(0)
  await sim.run({ forMs: 10 * MINUTE_MS })
  await post.check()
  assert.equal(post.told, 60)
  return `${post.told} messages, the last ${took} virtual s after the cut was healed`
})
