import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { certify, NOW, rotateIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { createTown, type Member } from './support.ts'

const TIMEOUT = { timeout: 60_000 }

async function introduce(a: Member, b: Member): Promise<void> {
  await a.assembly.mesh.book.add(b.assembly.mesh.did, { name: b.name, urls: [`memory://${b.name}`] })
  await b.assembly.mesh.book.add(a.assembly.mesh.did, { name: a.name, urls: [`memory://${a.name}`] })
}

const linked = (a: Member, b: Member): boolean => a.assembly.mesh.links().some(({ did, state }) => did === b.assembly.mesh.did && state === 'connected')
const status = (at: Member, of: Member): string | undefined => at.assembly.mesh.chainOf(of.assembly.mesh.did)?.status
const standing = (at: Member, of: Member): string => at.assembly.trust.standing(of.assembly.mesh.did).state

test('fork met in a greeting, is shown to everybody as evidence, holds its identity low, and ends with the choice of each owner', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 10 })
  const { world } = town
  const ann = await town.member('ann', { identity: testIdentity('ann') })
  const [ben, cem] = [await town.member('ben', { identity: testIdentity('ben') }), await town.member('cem', { identity: testIdentity('cem') })]
  await introduce(ann, ben)
  await introduce(ben, cem)
  await world.until(() => linked(ann, ben) && linked(ben, cem))
  const stolen = { ...ann.identity }
  rotateIdentity(ann.identity)
  ann.device.chain = ann.identity.chain
  ann.device.binding = certify(ann.identity, 'ann', { serial: 2 })
  await world.settle(ann.assembly.replaceDevice(ann.device))
  await world.until(() => ben.assembly.mesh.chainOf(ann.assembly.mesh.did)?.index === 1)

  rotateIdentity(stolen, { branch: 'other ' })
  const thief = await town.member('thief', { identity: stolen, device: testDevice(stolen, 'thief') })
  await thief.assembly.mesh.book.add(ben.assembly.mesh.did, { name: 'ben', urls: ['memory://ben'] })
  await assert.rejects(world.settle(thief.assembly.mesh.dial('ben')), { code: 'CHAIN_FORKED' })
  await world.until(() => status(ben, ann) === 'forked')
  // Cem has met neither of them.
  await world.until(() => standing(cem, ann) === 'quarantined' && standing(ben, ann) === 'quarantined')
  await assert.rejects(world.settle(ben.assembly.mesh.anchor('ann')), { code: 'CHAIN_FORKED' })

  await world.settle(ben.assembly.mesh.repin('ann', toHex(ann.identity.chain.head)))
  assert.deepEqual([status(ben, ann), standing(ben, ann)], ['anchored', 'good'])
  assert.equal(standing(cem, ann), 'quarantined', 'each owner decides for himself')
  await world.until(() => linked(ann, ben))
  await assert.rejects(world.settle(thief.assembly.mesh.dial('ben')), { code: 'BINDING_INVALID' })
  assert.equal(status(ben, ann), 'anchored')
  const [row] = await ben.assembly.audit.list({ limit: 1 })
  assert.deepEqual([row?.actor, row?.action, row?.subject], ['owner', 'peer.repin', ann.assembly.mesh.did])
  await town.close()
})

test('history that is longer than a topic carries, is learned from its last entries and whoever is linked', TIMEOUT, async () => {
  const town = createTown({ latencyMs: 10 })
  const { world } = town
  const long = testIdentity('ann', { mldsa: true })
  for (let at = 1; at <= 9; at++) rotateIdentity(long, { now: NOW - 3_600_000 + at })
  const [ben, cem] = [await town.member('ben', { identity: testIdentity('ben') }), await town.member('cem', { identity: testIdentity('cem') })]
  const ann = await town.member('ann', { identity: long, device: testDevice(long, 'ann', { notBefore: NOW - 60_000 }) })
  await introduce(ben, cem)
  await introduce(ann, ben)
  await cem.assembly.mesh.book.add(ann.assembly.mesh.did, { name: 'ann' })
  await world.settle(cem.assembly.mesh.anchor('ben', { chain: encodeChain(ben.device.chain.entries) }))
  await world.until(() => linked(ann, ben) && linked(ben, cem))
  await world.until(() => cem.assembly.mesh.chainOf(ann.assembly.mesh.did)?.index === 9)
  assert.equal(linked(cem, ann), false)
  await town.close()
})
