import assert from 'node:assert/strict'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { ring } from '../../src/testing/topology.ts'
import { allLinked, CLASSICAL, scenario } from './support.ts'

const MINUTE_MS = 60_000
const TOPIC = 'room:clones'

function start(node: SimNode): Promise<void> {
  return node.assembly.gossip.define({ name: TOPIC, access: { kind: 'open' } })
}

async function circle(sim: Simulation): Promise<SimNode[]> {
  const nodes = await sim.nodes(6, { ...CLASSICAL, onStart: start })
  const edges = ring(nodes.map(({ name }) => name))
  sim.connect(edges, { latencyMs: 20, class: 'partner' })
  await sim.until(() => allLinked(sim, edges))
  return nodes
}

async function publish(sim: Simulation, node: SimNode, text: string): Promise<void> {
  await sim.settle(node.assembly.gossip.publish(TOPIC, Buffer.from(text)))
  await sim.run({ forMs: 5_000 })
}

/** Nobody is banned, quarantined, or held to anything by any of these. */
function assertUnharmed(nodes: readonly SimNode[]): void {
  for (const node of nodes) {
    for (const status of node.assembly.trust.standings()) {
      assert.deepEqual([status.state, status.reputation], ['good', 10_000], `${node.name} holds something against ${status.did}`)
    }
  }
}

function entries(node: SimNode): number {
  return node.assembly.gossip.topics().find(({ name }) => name === TOPIC)?.entries ?? 0
}

function warnings(nodes: readonly SimNode[]): string[] {
  return nodes.flatMap(({ name, events }) => events.flatMap((event) => (event.type === 'warning' ? [`${name} ${event.error.code}`] : [])))
}

scenario('a home restored from an old copy, is detected and nobody is banned for it', async (sim) => {
  const nodes = await circle(sim)
  const [one, ...others] = nodes as [SimNode, ...SimNode[]]
  await publish(sim, one, 'before the copy')
  const copy = await one.disk.copy()
  for (let run = 0; run < 2; run++) {
    one.crash()
    await one.restart()
    await sim.until(() => one.linked().length === 2, { withinMs: 5 * MINUTE_MS })
    await publish(sim, one, `run ${run} after the copy`)
  }
  one.crash()
  await one.restart({ from: copy })
  await sim.settle(one.assembly.gossip.publish(TOPIC, Buffer.from('by the restored one')))
  await sim.run({ forMs: 10 * MINUTE_MS })
  assert.deepEqual(one.linked(), [], 'a peer took the restored one for what it was before')
  assert.ok(
    warnings(others).some((text) => text.endsWith('DEVICE_CLONED')),
    'nobody noticed',
  )
  assert.ok(
    one.mesh.links().some(({ lastError }) => lastError?.code === 'DEVICE_CLONED'),
    'the owner of the restored home is not told',
  )
  assertUnharmed(nodes)
  const told = warnings(others).length
  // Its count of starts catches up with what the others remember: it is let in again, and what it said in between contradicts nothing it said before.
  for (let run = 0; run < 2; run++) {
    one.crash()
    await one.restart()
    await publish(sim, one, `run ${run} of the restored one`)
  }
  await sim.until(() => one.linked().length === 2, { withinMs: 10 * MINUTE_MS })
  await sim.until(() => new Set(nodes.map((node) => entries(node))).size === 1, { withinMs: 5 * MINUTE_MS })
  assert.equal(entries(one), 6, 'entries from before, after and beside the copy')
  assertUnharmed(nodes)
  return `${told} warnings while it was behind, none held against it`
})

scenario('a device key that runs on two machines at once, is noticed by who meets both and costs nobody else', async (sim) => {
  const nodes = await circle(sim)
  const [one, ...others] = nodes as [SimNode, ...SimNode[]]
  const from = await one.disk.copy()
  const copy = await sim.node('copy', { ...CLASSICAL, cloneOf: one.name, from, onStart: start })
  await sim.run({ forMs: 10 * MINUTE_MS })
  assert.ok(
    warnings([...others, copy, one]).some((text) => text.endsWith('DEVICE_CLONED')),
    'nobody noticed',
  )
  for (const node of others) {
    for (const { did } of node.assembly.trust.standings()) assert.equal(did, one.did, `${node.name} holds something against another than the copied one`)
  }
  return `${warnings([...others, copy, one]).length} warnings`
})
