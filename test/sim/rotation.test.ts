import assert from 'node:assert/strict'
import { toHex, utf8 } from '../../src/core/bytes.ts'
import type { ChainStanding } from '../../src/mesh/types.ts'
import type { SimNode } from '../../src/testing/node.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { scenario } from './support.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const TOPIC = 'family'

const linkedTo = (node: SimNode, peer: SimNode): boolean =>
  node.mesh.links().some(({ linkKey, state }) => linkKey === toHex(peer.device.linkSigner.publicKey) && state === 'connected')

const chainOf = (node: SimNode, peer: SimNode): ChainStanding | null => node.mesh.chainOf(peer.did)

/** The identity's keys are replaced on this machine, which has a new binding at once, as `kith id rotate` does it. */
async function rotate(sim: Simulation, node: SimNode, reason?: 'scheduled' | 'lost' | 'compromised'): Promise<void> {
  const now = node.clock.now()
  node.identity.rotate(now, reason)
  node.device.renew(now)
  await sim.settle(node.assembly.replaceDevice(node.device))
}

/** Nobody runs: three months pass in no time. Whoever starts again has unlocked its keys, and its binding is renewed. */
async function sleepFor(sim: Simulation, nodes: readonly SimNode[], days: number): Promise<void> {
  for (const node of nodes) if (node.running) await node.stop()
  await sim.run({ forMs: days * DAY_MS })
}

async function wake(nodes: readonly SimNode[]): Promise<void> {
  for (const node of nodes) {
    node.device.renew(node.clock.now())
    await node.restart()
  }
}

scenario('three months offline while peers rotated twice: heals on first contact', async (sim) => {
  const [home, ann, ben] = [await sim.node('home'), await sim.node('ann'), await sim.node('ben')]
  sim.link('home', 'ann', { latencyMs: 20 })
  sim.link('home', 'ben', { latencyMs: 20, acquaint: false })
  // Home hears of Ben only when Ben comes: it has no address of his.
  await home.mesh.book.add(ben.did, { name: 'ben' })
  await ben.mesh.book.add(home.did, { name: 'home', urls: [home.url] })
  for (const node of [home, ann, ben]) await node.assembly.gossip.define({ name: TOPIC, access: { kind: 'open' } })
  await sim.until(() => [ann, ben].every((peer) => linkedTo(home, peer) && linkedTo(peer, home)))
  await sim.settle(home.mesh.anchor(ann.did))
  await sim.run({ forMs: MINUTE_MS })

  await sleepFor(sim, [home, ann, ben], 30)
  for (let month = 1; month <= 2; month++) {
    await wake([ann, ben])
    for (const peer of [ann, ben]) await rotate(sim, peer)
    await sim.run({ forMs: MINUTE_MS })
    await sleepFor(sim, [ann, ben], 30)
  }
  await wake([ann, ben, home])
  const met = sim.now
  await sim.until(() => [ann, ben].every((peer) => linkedTo(home, peer) && linkedTo(peer, home)), { withinMs: 10 * MINUTE_MS, everyMs: 100 })
  const took = sim.now - met
  assert.deepEqual(
    [ann, ben].map((peer) => [chainOf(home, peer)?.status, chainOf(home, peer)?.index]),
    [
      ['anchored', 2],
      ['first-seen', 2],
    ],
  )
  for (const node of [home, ann, ben]) assert.ok(node.events.every(({ type }) => type !== 'warning'))
  await sim.settle(ann.assembly.gossip.publish(TOPIC, utf8('back')))
  let heard = false
  home.assembly.gossip.listen(
    TOPIC,
    ({ data }) => {
      heard ||= Buffer.from(data).toString() === 'back'
    },
    { replay: true },
  )
  await sim.until(() => heard, { withinMs: 10 * MINUTE_MS, everyMs: 100 })
  return `both linked ${(took / 1_000).toFixed(1)} virtual s after the start`
})

scenario('compromised keys, end every machine that they certified, at peers near and far', async (sim) => {
  const laptop = await sim.node('laptop', { postQuantum: false })
  const phone = await sim.node('phone', { postQuantum: false, identityOf: 'laptop' })
  const [ann, ben] = [await sim.node('ann', { postQuantum: false }), await sim.node('ben', { postQuantum: false })]
  sim.connect(
    [
      ['laptop', 'ann'],
      ['ann', 'ben'],
      ['phone', 'ben'],
      ['phone', 'ann'],
    ],
    { latencyMs: 20 },
  )
  for (const node of [laptop, phone, ann, ben]) await node.assembly.gossip.define({ name: TOPIC, access: { kind: 'open' } })
  await sim.until(() => linkedTo(ann, laptop) && linkedTo(ann, phone) && linkedTo(ben, phone) && linkedTo(ben, ann))
  const heard: string[] = []
  ben.assembly.gossip.listen(TOPIC, ({ data }) => void heard.push(Buffer.from(data).toString()))
  await sim.settle(phone.assembly.gossip.publish(TOPIC, utf8('before')))
  await sim.until(() => heard.length === 1)

  await rotate(sim, laptop, 'compromised')
  const told = sim.now
  // Ben is not linked with the laptop: it reaches him as an entry of `identity:updates`.
  await sim.until(() => !linkedTo(ann, phone) && !linkedTo(ben, phone), { withinMs: 10 * MINUTE_MS, everyMs: 10 })
  const took = sim.now - told
  assert.ok(linkedTo(ann, laptop))
  await sim.settle(phone.assembly.gossip.publish(TOPIC, utf8('after')))
  phone.mesh.wake()
  await sim.run({ forMs: 10 * MINUTE_MS })
  assert.ok(!linkedTo(ann, phone) && !linkedTo(ben, phone))
  assert.deepEqual(heard, ['before'])
  assert.ok(phone.mesh.links().some(({ lastError }) => lastError?.code === 'BINDING_INVALID'))
  // The owner certifies it anew.
  phone.device.renew(phone.clock.now())
  await sim.settle(phone.assembly.replaceDevice(phone.device))
  phone.mesh.wake()
  await sim.until(() => linkedTo(ann, phone) && linkedTo(ben, phone), { withinMs: 10 * MINUTE_MS, everyMs: 100 })
  return `every link of the old keys was gone ${(took / 1_000).toFixed(1)} virtual s after the rotation`
})
