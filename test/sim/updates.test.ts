import assert from 'node:assert/strict'
import { linkedNodes, scenario } from './support.ts'

const COUNT = 20

scenario('what 20 machines say of themselves, all at once when they first meet, reaches everybody without a refusal', async (sim) => {
  await linkedNodes(sim, COUNT, 4, { latencyMs: 20 })
  const { now } = sim
  const entries = () => sim.all().map(({ assembly }) => assembly.gossip.topics().find(({ name }) => name === 'identity:updates')?.entries ?? 0)
  // Of each its record and its chain; the papers of authors beyond the neighbours have to be asked for.
  await sim.until(() => entries().every((count) => count === 2 * COUNT), { withinMs: 30_000, everyMs: 100 })
  for (const { assembly } of sim.all()) assert.equal(assembly.gossip.refusals.unknown_device ?? 0, 0)
  return `all of ${2 * COUNT} entries everywhere after ${((sim.now - now) / 1_000).toFixed(1)} virtual s`
})
