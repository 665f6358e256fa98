import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { signEnvelope } from '../../src/mesh/messages/envelope.ts'
import { NOW, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { createTown, introduce, linked, type Member, type Town } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

function state(of: Member, about: Member): string {
  return of.assembly.trust.standings().find(({ did }) => did === about.assembly.mesh.did)?.state ?? 'good'
}

async function defineNews(...members: Member[]): Promise<void> {
  for (const { assembly } of members) await assembly.gossip.define({ name: 'news', access: { kind: 'open' } })
}

/** From now on every record of this node has one and the same number. */
function signAlways({ assembly, device }: Member, epoch: number, seq: number): void {
  const { messages } = assembly
  messages.signRecord = ({ topic, type, payload, suite = 'ed25519' }) => {
    const fields = { class: 'record', suite, topic, epoch, seq, type, payload, from: device.didKey, device: device.linkSigner.publicKey, timeMs: NOW } as const
    return messages.restoreRecord(signEnvelope(fields, { ed25519: device.linkSigner, mldsa: device.mldsaSigner }))
  }
}

async function until(town: Town, member: Member, entries: number): Promise<void> {
  await town.world.until(() => member.assembly.gossip.topics().find(({ name }) => name === 'news')?.entries === entries)
}

/** ann - ben - cem in a row, all readers of `news`. */
async function row(town: Town): Promise<readonly [Member, Member, Member]> {
  const [ann, ben, cem] = [await town.member('ann'), await town.member('ben'), await town.member('cem')]
  await defineNews(ann, ben, cem)
  for (const { assembly } of [ann, ben, cem]) assembly.gossip.listen('news', () => undefined)
  await introduce(ann, ben)
  await introduce(ben, cem)
  await linked(town, ann, ben)
  await linked(town, ben, cem)
  return [ann, ben, cem]
}

test('a device that says two things under one number to two nodes, is banned by all who read the topic, and nobody else is', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 20 })
  const [ann, ben, cem] = await row(town)
  const identity = testIdentity('eve', { mldsa: true })
  const device = testDevice(identity, 'eve')
  // The same device says one thing here and another there.
  const one = await town.member('eve', { identity, device })
  await introduce(one, ann)
  await linked(town, one, ann)
  await defineNews(one)
  signAlways(one, 1, 7)
  await town.world.settle(one.assembly.gossip.publish('news', utf8('to ann: yes')))
  await until(town, ann, 1)
  await town.world.settle(one.assembly.close())
  const other = await town.member('eve', { identity, device })
  await introduce(other, cem)
  await linked(town, other, cem)
  await defineNews(other)
  signAlways(other, 1, 7)
  await town.world.settle(other.assembly.gossip.publish('news', utf8('to cem: no')))
  await town.world.until(() => [ann, ben, cem].every((member) => state(member, other) === 'banned'))
  await town.world.until(() => cem.assembly.mesh.links().every(({ did, state: link }) => did !== identity.chain.did || link !== 'connected'))
  await town.world.until(() => other.assembly.mesh.links().every(({ state: link }) => link !== 'connected'))
  for (const member of [ann, ben, cem]) {
    const status = member.assembly.trust.standing(identity.chain.did)
    assert.deepEqual(
      status.devices.map(({ reason }) => reason),
      ['evidence: equivocation'],
    )
    assert.deepEqual(
      member.assembly.trust.standings().map(({ did }) => did),
      [identity.chain.did],
    )
    assert.ok((await member.assembly.audit.list()).some(({ actor, action, subject }) => actor === 'node' && action === 'ban' && subject === identity.chain.did))
  }
  await assert.rejects(town.world.settle(other.assembly.mesh.dial('cem')), (error) => isKithError(error, 'BANNED') || isKithError(error, 'PEER_UNREACHABLE'))
  await town.close()
})

test('rubbish on the topic of evidence, is held against nobody', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben, cem] = await row(town)
  for (const payload of [utf8('cem lies'), new Uint8Array(0), Uint8Array.of(1, 4, 0, 0, 0, 0), Uint8Array.of(9, 9)]) {
    await town.world.settle(ann.assembly.gossip.publish('trust:evidence', payload))
  }
  await town.world.until(() => cem.assembly.gossip.topics().find(({ name }) => name === 'trust:evidence')?.entries === 4)
  await town.world.run(10)
  for (const member of [ann, ben, cem]) assert.deepEqual(member.assembly.trust.standings(), [])
  await town.close()
})

test('why about a banned peer, prints a command that lifts the ban', TIMEOUT, async () => {
  const town = createTown()
  const [ann, ben] = [await town.member('ann'), await town.member('ben')]
  await introduce(ann, ben)
  await linked(town, ann, ben)
  await town.world.settle(ann.assembly.trust.ban('ben', { reason: 'noise' }))
  const why = ann.assembly.mesh.why('ben', 'link')
  assert.equal(why.decision, 'denied')
  const words = (why.next ?? '').split(' ')
  assert.deepEqual([...words.slice(0, 3), words[4]], ['kith', 'trust', 'unban', '--reason'])
  await town.world.settle(ann.assembly.trust.unban(words[3] as string, { reason: words[5] as string }))
  assert.equal(ann.assembly.mesh.why('ben', 'link').decision, 'allowed')
  await linked(town, ann, ben)
  const [last] = await ann.assembly.audit.list({ limit: 1 })
  assert.deepEqual([last?.action, last?.reason, last?.subject], ['unban', 'pardoned', ben.assembly.mesh.did])
  await town.close()
})
