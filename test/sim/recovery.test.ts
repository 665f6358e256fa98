import assert from 'node:assert/strict'
import { recoveryPolicyOf } from '../../src/identity/chain-recovery.ts'
import type { Did } from '../../src/identity/did.ts'
import type { RecoveryAttestation, RecoveryPolicy } from '../../src/identity/types.ts'
import { MESSAGE_TYPE } from '../../src/mesh/messages/types.ts'
import { createRequest } from '../../src/recovery/request.ts'
import type { RecoveryStage } from '../../src/recovery/types.ts'
import { decodeMessage, encodeMessage } from '../../src/recovery/wire.ts'
import { SimIdentity } from '../../src/testing/identities.ts'
import type { SimNode } from '../../src/testing/node.ts'
import { START_MS } from '../../src/testing/node-clock.ts'
import type { Simulation } from '../../src/testing/simulation.ts'
import { CLASSICAL, scenario } from './support.ts'

const DAY = 86_400_000
const DELAY_DAYS = 1
const MINUTE = 60_000

interface Scene {
  readonly ann: SimNode
  readonly trustees: readonly SimNode[]
  readonly did: Did
}

/** Ann, her trustees, all linked with each other and knowing her as a partner whom the first of them trusts and lets in. */
async function scene(sim: Simulation, names: readonly string[] = ['tia', 'tom', 'tea'], threshold = 2): Promise<Scene> {
  const trustees: SimNode[] = []
  for (const name of names) trustees.push(await sim.node(name, CLASSICAL))
  const recovery: RecoveryPolicy = { threshold, override: 0, delayS: (DELAY_DAYS * DAY) / 1_000, trustees: trustees.map(({ did }) => did) }
  const ann = await sim.node('ann', { ...CLASSICAL, recovery })
  const all = ['ann', ...names]
  for (const [at, a] of all.entries()) for (const b of all.slice(at + 1)) sim.link(a, b, { latencyMs: 10, class: 'partner' })
  await sim.until(() => sim.all().every((node) => node.linked().length === all.length - 1), { everyMs: 100 })
  const first = trustees[0] as SimNode
  await sim.settle(first.assembly.trust.set(ann.did, 8_000))
  await sim.settle(first.mesh.policy.allow(ann.did, 'forward', 'localhost:80'))
  return { ann, trustees, did: ann.did }
}

/** Whoever lost everything comes with a throw-away identity, pairs with the trustees, and asks. */
async function ask(
  sim: Simulation,
  { did, trustees }: Scene,
  name = 'new',
  reached: readonly SimNode[] = trustees,
): Promise<{ node: SimNode; id: string; seed: string }> {
  const node = sim.all().find((known) => known.name === name) ?? (await sim.node(name, CLASSICAL))
  for (const trustee of trustees) sim.link(name, trustee.name, { latencyMs: 10 })
  await sim.until(() => reached.every((trustee) => node.linked().includes(trustee.name)), { everyMs: 100, withinMs: 10 * MINUTE })
  const chain = await sim.settle(node.assembly.recovery.learnHistory(did))
  const policy = recoveryPolicyOf(chain, node.clock.now()) as RecoveryPolicy
  const seed = `${sim.seed} fresh keys of ${name}`
  const keys = freshKeys(seed, node)
  const entry = createRequest({ chain, signer: keys.signer, next: keys.promised, policy, now: node.clock.now() })
  keys.close()
  const { id } = await sim.settle(node.assembly.recovery.desk.request(entry))
  await sim.settle(node.assembly.recovery.tell())
  await sim.run({ forMs: 1_000 })
  return { node, id, seed }
}

function freshKeys(seed: string, node: SimNode): SimIdentity {
  return new SimIdentity(seed, { ...node.identity.options, now: START_MS })
}

async function attest(sim: Simulation, trustee: SimNode, id: string): Promise<void> {
  await sim.settle(trustee.assembly.recovery.desk.attest(id, { did: trustee.did, signer: trustee.identity.signer.ed25519 }))
  await sim.settle(trustee.assembly.recovery.tell())
}

/** The clocks of all machines go forward together, as fast as nobody could wait. */
async function pass(sim: Simulation, ms: number): Promise<void> {
  for (const node of sim.all()) node.clock.jump(ms)
  await sim.run({ forMs: MINUTE })
}

async function cancel(sim: Simulation, trustee: SimNode, id: string): Promise<void> {
  await sim.settle(trustee.assembly.recovery.desk.cancel(id, { did: trustee.did, signer: trustee.identity.signer.ed25519 }))
}

async function stages(sim: Simulation, nodes: readonly SimNode[], id: string): Promise<string> {
  const found: string[] = []
  for (const node of nodes) {
    const known = await sim.settle(node.assembly.recovery.desk.list())
    found.push(`${node.name} ${known.find((one) => one.id === id)?.stage ?? 'unknown'}`)
  }
  const text = found.join(', ')
  sim.note(text)
  return text
}

const everywhere = (nodes: readonly SimNode[], stage: RecoveryStage): string => nodes.map(({ name }) => `${name} ${stage}`).join(', ')

/** The delay is over: the home of the requester becomes a home of the old identity. */
async function finalize(sim: Simulation, { node, seed, did }: { node: SimNode; seed: string; did: Did }, peers: readonly SimNode[]): Promise<SimNode> {
  const chain = await sim.settle(node.assembly.messages.directory.chainOf(did))
  assert.ok(chain !== undefined && chain.index >= 1)
  node.crash()
  const identity = new SimIdentity(seed, { ...node.identity.options, now: node.clock.now() }, chain)
  const again = await sim.node('again', { ...CLASSICAL, identity })
  for (const { name } of peers) sim.link('again', name, { latencyMs: 10, acquaint: false })
  for (const peer of peers) await sim.settle(again.mesh.book.add(peer.did, { urls: [peer.url], class: 'known' }))
  return again
}

scenario('five nodes, everything lost, attested, waited for, finalised: the old keys are refused and trust has moved', async (sim) => {
  const set = await scene(sim)
  const { ann, trustees, did } = set
  const [tia, tom, tea] = trustees as [SimNode, SimNode, SimNode]
  const scoreBefore = tia.assembly.trust.explain(did).score
  assert.ok(scoreBefore > 0)
  ann.crash({ of: 'machine' })
  const asked = await ask(sim, set)
  const all = [...trustees, asked.node]
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'collecting'))
  await attest(sim, tia, asked.id)
  await sim.run({ forMs: 2 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'collecting'))
  await attest(sim, tom, asked.id)
  await sim.run({ forMs: 2 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'waiting'))
  await sim.run({ forMs: DAY / 2 })
  // One more word in the middle of the delay takes nobody back to its beginning.
  await attest(sim, tea, asked.id)
  await sim.run({ forMs: DAY / 2 - 10 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'waiting'))
  await sim.run({ forMs: 20 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'effective'))
  const again = await finalize(sim, { ...asked, did }, trustees)
  assert.equal(again.did, did)
  await sim.until(() => trustees.every((trustee) => again.linked().includes(trustee.name)), { everyMs: 1_000, withinMs: 10 * MINUTE })
  assert.equal(tia.assembly.trust.explain(did).score, scoreBefore)
  assert.equal(tia.mesh.policy.classOf(did), 'partner')
  assert.equal(tia.mesh.policy.decide({ peer: did, action: 'forward', target: 'localhost:80' }).allowed, true)
  // Whoever found the old machine starts it.
  await ann.restart()
  await sim.run({ forMs: 10 * MINUTE })
  assert.deepEqual(ann.linked(), [], 'the old keys link nobody')
  for (const trustee of trustees) {
    const fault = await sim.settle(trustee.assembly.messages.directory.faultOf(did, ann.device.linkSigner.publicKey))
    assert.equal(fault?.code, 'BINDING_INVALID')
  }
  assert.equal(tia.mesh.links().filter((link) => link.did === did && link.state === 'connected').length, 1)
  return 'recovered and at home with everybody'
})

scenario('owner who still has the keys sees a recovery that nobody should have attested, and ends it by rotating', async (sim) => {
  const set = await scene(sim)
  const { ann, trustees, did } = set
  const [tia, tom] = trustees as [SimNode, SimNode]
  const asked = await ask(sim, set, 'thief')
  const [early] = ann.assembly.recovery.desk.alarms
  assert.deepEqual([early?.stage, early?.attested], ['collecting', 0], 'the owner knows before anybody attested')
  for (const trustee of [tia, tom]) await attest(sim, trustee, asked.id)
  await sim.run({ forMs: 2 * MINUTE })
  const all = [ann, ...trustees, asked.node]
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'waiting'))
  const [alarm] = ann.assembly.recovery.desk.alarms
  assert.deepEqual([alarm?.stage, alarm?.attested, alarm?.threshold], ['waiting', 2, 2])
  ann.identity.rotate(ann.clock.now())
  ann.device.renew(ann.clock.now())
  await sim.settle(ann.assembly.replaceDevice(ann.device))
  await sim.run({ forMs: 5 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'overtaken'))
  await pass(sim, 2 * DAY)
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'overtaken'))
  await sim.until(() => trustees.every(({ name }) => ann.linked().includes(name)), { everyMs: 1_000, withinMs: 10 * MINUTE })
  for (const node of trustees) {
    const chain = await sim.settle(node.assembly.messages.directory.chainOf(did))
    assert.deepEqual([chain?.index, chain?.entries[1]?.kind, chain?.status !== 'forked'], [1, 'rotate', true])
  }
  return 'ended by the owner everywhere'
})

scenario('trustees who were fooled end the recovery by a quorum, everywhere and for good', async (sim) => {
  const set = await scene(sim)
  const { ann, trustees, did } = set
  const [tia, tom, tea] = trustees as [SimNode, SimNode, SimNode]
  ann.crash({ of: 'machine' })
  const asked = await ask(sim, set, 'thief')
  for (const trustee of [tia, tom]) await attest(sim, trustee, asked.id)
  await sim.run({ forMs: 2 * MINUTE })
  const all = [...trustees, asked.node]
  await cancel(sim, tom, asked.id)
  await sim.run({ forMs: MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'waiting'), 'one word alone ends nothing')
  sim.partition(['tia'], ['tom', 'tea', 'thief'])
  await cancel(sim, tea, asked.id)
  await pass(sim, DAY / 2)
  assert.equal(await stages(sim, all, asked.id), 'tia waiting, tom cancelled, tea cancelled, thief cancelled')
  sim.heal()
  await sim.run({ forMs: 10 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'cancelled'))
  await pass(sim, 2 * DAY)
  for (const node of all) assert.equal((await sim.settle(node.assembly.messages.directory.chainOf(did)))?.index, 0)
  await ann.restart()
  await sim.until(() => trustees.every(({ name }) => ann.linked().includes(name)), { everyMs: 1_000, withinMs: 10 * MINUTE })
  return 'ended by the trustees everywhere'
})

scenario('network that parts in each phase of a recovery, whoever was away catches up and counts its own delay', async (sim) => {
  const set = await scene(sim)
  const { ann, trustees, did } = set
  const [tia, tom, tea] = trustees as [SimNode, SimNode, SimNode]
  ann.crash({ of: 'machine' })
  // While it is asked for: tea hears nothing of it.
  sim.partition(['tia', 'tom', 'new'], ['tea'])
  const asked = await ask(sim, set, 'new', [tia, tom])
  assert.equal(await stages(sim, [tia, tom, tea], asked.id), 'tia collecting, tom collecting, tea unknown')
  sim.heal()
  await sim.until(() => asked.node.linked().includes('tea'), { everyMs: 1_000, withinMs: 20 * MINUTE })
  await sim.run({ forMs: MINUTE })
  const all = [...trustees, asked.node]
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'collecting'))
  // While trustees attest: each side has one word.
  sim.partition(['tia', 'new'], ['tom', 'tea'])
  await attest(sim, tia, asked.id)
  await attest(sim, tom, asked.id)
  await sim.run({ forMs: 10 * MINUTE })
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'collecting'))
  sim.heal()
  await sim.run({ forMs: 10 * MINUTE })
  sim.note(await stages(sim, all, asked.id))
  assert.equal(await stages(sim, [tia, tom, asked.node], asked.id), everywhere([tia, tom, asked.node], 'waiting'))
  // While they wait: tea hears of it half a day later than the others, and is cut off again when it is over.
  const due = (node: SimNode): Promise<number | undefined> => sim.settle(node.assembly.recovery.desk.get(asked.id)).then(({ dueMs }) => dueMs)
  assert.ok((await due(tea)) !== undefined)
  sim.partition(['tia', 'tom', 'new'], ['tea'])
  await pass(sim, DAY)
  assert.equal(await stages(sim, all, asked.id), everywhere(all, 'effective'), 'alone as well, by its own clock')
  // While it is finalised: the new home comes when tea is away.
  const again = await finalize(sim, { ...asked, did }, trustees)
  sim.partition(['tia', 'tom', 'again'], ['tea'])
  await sim.until(() => ['tia', 'tom'].every((name) => again.linked().includes(name)), { everyMs: 1_000, withinMs: 10 * MINUTE })
  sim.heal()
  await sim.until(() => again.linked().includes('tea'), { everyMs: 1_000, withinMs: 20 * MINUTE })
  return 'one history on all sides'
})

scenario('trustee that was away when it was named, asked by a requester alone, learns the history from it and is asked', async (sim) => {
  const set = await scene(sim)
  const { ann, trustees } = set
  const [tia, tom, tea] = trustees as [SimNode, SimNode, SimNode]
  sim.partition(['ann', 'tia', 'tom', 'new'], ['tea'])
  await sim.run({ forMs: MINUTE })
  ann.identity.rotate(ann.clock.now())
  ann.device.renew(ann.clock.now())
  await sim.settle(ann.assembly.replaceDevice(ann.device))
  await sim.run({ forMs: 5 * MINUTE })
  ann.crash({ of: 'machine' })
  const asked = await ask(sim, set, 'new', [tia, tom])
  // From now on tea meets nobody but the requester.
  sim.partition(['tia', 'tom'], ['tea', 'new'])
  await sim.until(() => asked.node.linked().includes('tea'), { everyMs: 100, withinMs: 30 * MINUTE })
  await sim.run({ forMs: 500 })
  assert.equal(await stages(sim, [tia, tom, tea], asked.id), 'tia collecting, tom collecting, tea collecting')
  return 'asked everywhere'
})

scenario('verifier that hears of a complete recovery later than the others, lets the new keys in later, by its own delay', async (sim) => {
  const set = await scene(sim)
  const { ann, trustees } = set
  const [tia, tom, tea] = trustees as [SimNode, SimNode, SimNode]
  ann.crash({ of: 'machine' })
  const asked = await ask(sim, set, 'new')
  sim.partition(['tia', 'tom', 'new'], ['tea'])
  for (const trustee of [tia, tom]) await attest(sim, trustee, asked.id)
  await sim.run({ forMs: MINUTE })
  await pass(sim, DAY / 2)
  sim.heal()
  await sim.run({ forMs: 10 * MINUTE })
  await pass(sim, DAY / 2)
  assert.equal(await stages(sim, [tia, tom, tea], asked.id), 'tia effective, tom effective, tea waiting')
  await pass(sim, DAY / 2)
  assert.equal(await stages(sim, [tia, tom, tea], asked.id), everywhere([tia, tom, tea], 'effective'))
  return 'each by its own clock'
})

scenario('a third of the trustees lie: they attest a thief, speak against the owner, and forge what others say, to no avail', async (sim) => {
  const set = await scene(sim, ['tia', 'tom', 'tea', 'tim', 'ida', 'ian'], 3)
  const { ann, trustees, did } = set
  const [tia, tom, tea] = trustees as [SimNode, SimNode, SimNode]
  const liars = trustees.slice(4)
  ann.crash({ of: 'machine' })
  const owner = await ask(sim, set, 'new')
  const thief = await ask(sim, set, 'thief')
  const honest = trustees.slice(0, 4)
  for (const liar of liars) await attest(sim, liar, thief.id)
  for (const liar of liars) await cancel(sim, liar, owner.id)
  // A word of one liar in the names of others, on the topic.
  const [liar] = liars as [SimNode]
  const lie = await sim.settle(liar.assembly.recovery.desk.get(thief.id))
  for (const message of liar.assembly.recovery.desk.messages(lie.id)) {
    const told = decodeMessage(message)
    if (told.kind !== 'recovery') continue
    const [word] = told.entry.attestations as [RecoveryAttestation]
    const forged = { ...told.entry, attestations: honest.map((one) => ({ ...word, trustee: one.did })) }
    await sim.settle(liar.assembly.gossip.publish('identity:recovery', encodeMessage({ kind: 'recovery', entry: forged }), { type: MESSAGE_TYPE.recovery }))
  }
  for (const trustee of [tia, tom, tea]) await attest(sim, trustee, owner.id)
  await sim.run({ forMs: 5 * MINUTE })
  const all = [...trustees, owner.node]
  assert.equal(await stages(sim, all, owner.id), everywhere(all, 'waiting'))
  assert.equal(await stages(sim, honest, thief.id), everywhere(honest, 'collecting'))
  await pass(sim, DAY)
  assert.equal(await stages(sim, all, owner.id), everywhere(all, 'effective'))
  assert.equal(await stages(sim, honest, thief.id), everywhere(honest, 'overtaken'))
  for (const node of honest) {
    const chain = await sim.settle(node.assembly.messages.directory.chainOf(did))
    assert.deepEqual([chain?.index, chain?.status !== 'forked'], [1, true])
  }
  return `${liars.length} liars of ${trustees.length} changed nothing`
})
