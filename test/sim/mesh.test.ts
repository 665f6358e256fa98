import assert from 'node:assert/strict'
import { startChurn } from '../../src/testing/churn.ts'
import type { SimNodeOptions } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { allLinked, CLASSICAL, keepPapers, linkedNodes, scenario } from './support.ts'

const MINUTE_MS = 60_000

function traffic(sim: Simulation): string {
  const { bytes, retransmissions } = sim.traffic()
  return `${(bytes / 1e6).toFixed(1)} MB, ${retransmissions} retransmissions`
}

/** Nodes of which only the links matter. */
const BARE: SimNodeOptions = { ...CLASSICAL, onStart: keepPapers }

async function comeUp(sim: Simulation, count: number, options: SimNodeOptions = BARE): Promise<string> {
  await linkedNodes(sim, count, 6, { latencyMs: 20, jitterMs: 10 }, options)
  const up = sim.now
  await sim.run({ forMs: 10 * MINUTE_MS })
  assert.ok(
    sim.all().every((node) => node.events.every(({ type }) => type !== 'down')),
    'a link that has come up was lost in a quiet network',
  )
  return `${count} nodes linked after ${(up / 1_000).toFixed(1)} virtual s, ${traffic(sim)}`
}

scenario('20 nodes with post-quantum keys, come up and stay', (sim) => comeUp(sim, 20, {}))

scenario('50 nodes with six neighbours each, come up and stay', (sim) => comeUp(sim, 50), { seeds: [1, 2] })

scenario('200 nodes with six neighbours each, come up and stay', (sim) => comeUp(sim, 200))

scenario('50 nodes under a fifth of loss, link all the same', async (sim) => {
  const edges = await linkedNodes(sim, 50, 6, { latencyMs: 30, jitterMs: 10, loss: 0.2 }, BARE)
  const up = sim.now
  await sim.run({ forMs: 10 * MINUTE_MS })
  await sim.until(() => allLinked(sim, edges), { withinMs: 10 * MINUTE_MS, everyMs: 500 })
  return `linked after ${(up / 1_000).toFixed(1)} virtual s, ${traffic(sim)}`
})

scenario('a partition of a third for an hour, heals by itself', async (sim) => {
  const edges = await linkedNodes(sim, 50, 6, {}, BARE)
  const names = sim.all().map(({ name }) => name)
  const minority = names.slice(0, 17)
  sim.partition(minority)
  await sim.run({ forMs: 60 * MINUTE_MS })
  const apart = (from: string): boolean => minority.includes(from)
  for (const node of sim.all()) {
    assert.ok(
      node.linked().every((other) => apart(other) === apart(node.name)),
      `${node.name} still counts on a link across the partition`,
    )
  }
  const healed = sim.now
  sim.heal()
  await sim.until(() => allLinked(sim, edges), { withinMs: 10 * MINUTE_MS, everyMs: 500 })
  return `all links back ${((sim.now - healed) / 1_000).toFixed(1)} virtual s after the hour, ${traffic(sim)}`
})

for (const what of ['process', 'machine'] as const) {
  scenario(`a tenth of all nodes lost and back each minute by a failing ${what}, all links in the end`, async (sim) => {
    const edges = await linkedNodes(sim, 50, 6, {}, BARE)
    const churn = startChurn(sim, { perMinute: 0.1, crash: { of: what } })
    await sim.run({ forMs: 20 * MINUTE_MS })
    churn.stop()
    const ended = sim.now
    await sim.until(() => sim.all().every(({ running }) => running) && allLinked(sim, edges), { withinMs: 15 * MINUTE_MS, everyMs: 500 })
    assert.ok(churn.crashes > 50, `only ${churn.crashes} crashes`)
    return `${churn.crashes} crashes, all links up ${((sim.now - ended) / 1_000).toFixed(1)} virtual s after the last, ${traffic(sim)}`
  })
}
