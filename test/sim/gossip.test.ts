import assert from 'node:assert/strict'
import { startChurn } from '../../src/testing/churn.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { LinkOptions, Simulation } from '../../src/testing/simulation.ts'
import { GossipWorld, type WorldOptions } from './gossip-support.ts'
import { linkedNodes, scenario } from './support.ts'

const MINUTE_MS = 60_000
const WAN: LinkOptions = { latencyMs: 30, jitterMs: 20 }

const BARE: WorldOptions = { bare: true }

/** One entry every `everyMs`, each time by another node that runs. */
async function publishFor(
  sim: Simulation,
  world: GossipWorld,
  options: { readonly forMs: number; readonly everyMs: number; readonly by?: () => readonly SimNode[] },
): Promise<void> {
  const end = sim.now + options.forMs
  while (sim.now < end) {
    const writers = (options.by?.() ?? sim.all()).filter(({ running }) => running)
    const writer = writers[Math.floor(sim.random.unit() * writers.length)]
    if (writer !== undefined) await world.publish(writer)
    await sim.run({ forMs: options.everyMs })
  }
}

/** Waits until all have all, checks that they are the same, and says what it took. */
async function converge(sim: Simulation, world: GossipWorld, since: number, withinMs: number): Promise<string> {
  await sim.until(() => world.complete(), { withinMs, everyMs: 100 })
  const took = sim.now - since
  await world.check()
  return `${world.published} entries the same everywhere ${(took / 1_000).toFixed(1)} virtual s after the last`
}

interface SpreadOptions {
  readonly conditions?: LinkOptions
  readonly world?: WorldOptions
  /** Nodes that publish. Default: all. */
  readonly writers?: number
}

async function spread(sim: Simulation, count: number, entries: number, options: SpreadOptions = {}): Promise<string> {
  const { conditions = WAN, world: of = BARE, writers = count } = options
  const world = new GossipWorld(sim, of)
  await linkedNodes(sim, count, 6, conditions, world.options)
  await sim.run({ forMs: MINUTE_MS })
  const before = sim.traffic().bytes
  await publishFor(sim, world, { forMs: entries * 200, everyMs: 200, by: () => sim.all().slice(0, writers) })
  const said = await converge(sim, world, sim.now, 5 * MINUTE_MS)
  assert.equal(world.deliveries, entries * (count - 1))
  const bytes = Math.round((sim.traffic().bytes - before) / world.deliveries)
  return `${said}; delivery in virtual ms: ${sim.samples('delivery')}; ${bytes} bytes per delivery of 1024`
}

scenario('gossip among 20 nodes with post-quantum keys and all their papers, reaches everybody once', (sim) => spread(sim, 20, 50, { world: { node: {} } }))

scenario('gossip among 50 nodes, reaches everybody once', (sim) => spread(sim, 50, 100), { seeds: [1, 2] })

scenario('gossip among 200 nodes, reaches everybody once', (sim) => spread(sim, 200, 50, { writers: 5 }))

scenario('gossip among 50 nodes under a fifth of loss, reaches everybody once', (sim) => spread(sim, 50, 100, { conditions: { ...WAN, loss: 0.2 } }))

scenario('gossip across a partition of a third for an hour, is the same everywhere after it', async (sim) => {
  const world = new GossipWorld(sim, BARE)
  await linkedNodes(sim, 50, 6, WAN, world.options)
  const minority = sim.all().slice(0, 17)
  sim.partition(minority.map(({ name }) => name))
  await publishFor(sim, world, { forMs: 60 * MINUTE_MS, everyMs: 30_000 })
  assert.ok(!world.complete(), 'the partition let something through')
  sim.heal()
  return await converge(sim, world, sim.now, 10 * MINUTE_MS)
})

for (const what of ['process', 'machine'] as const) {
  scenario(`gossip while a tenth of all nodes is lost each minute by a failing ${what}, is the same everywhere in the end`, async (sim) => {
    const world = new GossipWorld(sim, BARE)
    await linkedNodes(sim, 50, 6, WAN, world.options)
    const churn = startChurn(sim, { perMinute: 0.1, crash: { of: what } })
    await publishFor(sim, world, { forMs: 10 * MINUTE_MS, everyMs: 3_000 })
    churn.stop()
    return `${churn.crashes} crashes; ${await converge(sim, world, sim.now, 10 * MINUTE_MS)}`
  })
}
