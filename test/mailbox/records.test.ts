import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { decodeRecordAnswer, encodeRecordRequest, MAX_RECORD_ANSWER, RECORD_PROTOCOL } from '../../src/mesh/mailbox/wire.ts'
import { MESSAGE_TYPE } from '../../src/mesh/messages/types.ts'
import { ask } from '../../src/mesh/request-stream.ts'
import { decodePeerRecord, encodePeerRecord, type PeerRecord, RECORD_TOPIC } from '../../src/mesh/sealed/peer-record-codec.ts'
import { PeerRecords } from '../../src/mesh/sealed/peer-records.ts'
import { certify } from '../mesh/fixtures.ts'
import { acquaint } from '../mesh/mesh-support.ts'
import { createMailWorld, isLinked, type MailNode, type MailWorld, meet } from './mail-support.ts'

const DAY = 86_400_000
const HOUR = 3_600_000

async function ownRecord(node: MailNode): Promise<PeerRecord> {
  return decodePeerRecord(node.mesh.messages.readRecord(await node.mail.ownRecord()).payload)
}

/** A record of this node with other contents than its mail would publish. */
function forged(node: MailNode, record: PeerRecord, options: { topic?: string; type?: number } = {}): Uint8Array {
  const { topic = RECORD_TOPIC, type = MESSAGE_TYPE.peerRecord } = options
  return node.mesh.messages.signRecord({ topic, type, payload: encodePeerRecord(record) }).bytes
}

async function knower(
  world: MailWorld,
  node: MailNode,
  limits: { records?: number; perIdentity?: number } = {},
  store = createMemoryStore(),
): Promise<PeerRecords> {
  return await PeerRecords.open({
    store,
    messages: node.mesh.messages,
    clock: world.clock,
    logger: silentLogger,
    keeps: (did) => node.mesh.book.get(did) !== undefined,
    limits,
  })
}

test('peer record, newest by epoch and number, is kept; older ones and other kinds are not', async () => {
  const world = createMailWorld()
  const [ann, ben] = [await world.mailNode('ann'), await world.mailNode('ben')]
  await meet(world, ann, ben)
  const store = createMemoryStore()
  const records = await knower(world, ann, {}, store)
  const real = await ownRecord(ben)
  const older = forged(ben, { ...real, hosts: [ann.mesh.did] })
  const newer = forged(ben, { ...real, hosts: [] })
  assert.equal(await records.learn(newer, undefined), true)
  assert.equal(await records.learn(older, undefined), false)
  assert.equal(await records.learn(newer, undefined), false)
  assert.deepEqual(records.hostsOf(ben.mesh.did), [])
  assert.equal(await records.learn(forged(ben, { ...real, hosts: [ann.mesh.did, ben.mesh.did] }), undefined), true)
  assert.deepEqual(records.hostsOf(ben.mesh.did), [ann.mesh.did], 'a peer is no host of its own')
  assert.equal(await records.learn(forged(ben, real, { type: MESSAGE_TYPE.chain }), undefined), false)
  await assert.rejects((await knower(world, ann)).learn(forged(ben, real, { topic: 'another:topic' }), undefined), { code: 'NOT_FOR_US' })
  await assert.rejects(records.learn(new Uint8Array(20_000), undefined), { code: 'WIRE_MALFORMED' })
  assert.equal(await records.learn(forged(ben, { ...real, expiresMs: world.clock.now() }), undefined), false, 'it is over')
  assert.equal(await records.learn(forged(ben, { ...real, expiresMs: world.clock.now() + 100 * DAY }), undefined), false, 'nobody plans so far')
  const again = await knower(world, ann, {}, store)
  assert.deepEqual(again.of(ben.mesh.did), records.of(ben.mesh.did), 'it is there after a restart')
  world.clock.setWall(real.expiresMs + 1)
  assert.deepEqual(again.of(ben.mesh.did), [])
  await world.close()
})

test('peer record, with another machine’s prekey or a changed one, is refused', async () => {
  const world = createMailWorld()
  const [ann, ben, eve] = [await world.mailNode('ann'), await world.mailNode('ben'), await world.mailNode('eve')]
  await meet(world, ann, ben)
  await meet(world, ann, eve)
  const records = await knower(world, ann)
  const [benRecord, eveRecord] = [await ownRecord(ben), await ownRecord(eve)]
  await assert.rejects(records.learn(forged(eve, { ...eveRecord, prekey: benRecord.prekey }), undefined), { code: 'SIGNATURE_INVALID' })
  const changed = Uint8Array.from(eveRecord.prekey as Uint8Array)
  changed[changed.length - 10] = (changed[changed.length - 10] as number) ^ 1
  await assert.rejects(records.learn(forged(eve, { ...eveRecord, prekey: changed }), undefined), { code: 'SIGNATURE_INVALID' })
  const bytes = Uint8Array.from(await eve.mail.ownRecord())
  bytes[bytes.length - 5] = (bytes[bytes.length - 5] as number) ^ 1
  await assert.rejects(records.learn(bytes, undefined), { code: 'SIGNATURE_INVALID' })
  assert.equal(records.size, 0)
  await world.close()
})

test('peer records, beyond the bound, are forgotten for strangers first', async () => {
  const world = createMailWorld()
  const ann = await world.mailNode('ann')
  const ben = await world.mailNode('ben')
  await meet(world, ann, ben)
  const records = await knower(world, ann, { records: 3 })
  await records.learn(await ben.mail.ownRecord(), undefined)
  for (const name of ['s1', 's2', 's3', 's4', 's5']) {
    const stranger = await world.mailNode(name)
    await stranger.mesh.book.add(ann.mesh.did, { urls: [ann.url] })
    await world.until(() => isLinked(stranger, ann))
    await records.learn(await stranger.mail.ownRecord(), undefined)
    assert.ok(records.size <= 3)
    assert.equal(records.of(stranger.mesh.did).length, 1)
  }
  assert.equal(records.of(ben.mesh.did).length, 1, 'the peer of the address book stays')
  await world.close()
})

test('record protocol, shows a friend’s record to a friend and to nobody else', async () => {
  const world = createMailWorld()
  const [ann, ben, host, eve] = [await world.mailNode('ann'), await world.mailNode('ben'), await world.mailNode('host'), await world.mailNode('eve')]
  await meet(world, ben, host)
  await meet(world, ann, host)
  await eve.mesh.book.add(host.mesh.did, { urls: [host.url] })
  await world.until(() => isLinked(eve, host))
  const asked = async (from: MailNode, about: MailNode): Promise<number> => {
    const stream = await world.settle(from.mesh.openLean(host.mesh.did, RECORD_PROTOCOL))
    const request = encodeRecordRequest(didPublicKey(about.mesh.did))
    return decodeRecordAnswer(await world.settle(ask(stream.toDuplex(), request, MAX_RECORD_ANSWER, { clock: world.clock }))).length
  }
  assert.equal(await asked(ann, ben), 1)
  assert.equal(await asked(eve, ben), 0, 'whom the host knows is not told to strangers')
  assert.equal(await asked(eve, host), 1)
  assert.equal(await asked(ben, eve), 0)
  await world.close()
})

test('peer, seen with post-quantum keys and now without any, is not sealed to; one that never had them waits', async () => {
  const world = createMailWorld()
  const ann = await world.mailNode('ann')
  const ben = await world.mailNode('ben')
  await meet(world, ann, ben)
  await ben.stop()
  await world.until(() => !isLinked(ann, ben))
  await world.run(8 * DAY)
  // The same machine with a newer binding that names no key, and without mail: an older build, or a thief of the identity key.
  const stripped = { ...ben.device, binding: certify(ben.identity, 'ben', { serial: 2, fallbackKem: false }) }
  const back = await world.mailNode('ben', { identity: ben.identity, device: stripped, store: ben.store, startMail: false })
  await world.until(() => isLinked(ann, back), HOUR)
  await assert.rejects(world.settle(ann.mail.tell('ben', 'x')), { code: 'DOWNGRADE_REFUSED' })
  assert.deepEqual(ann.mail.outbox(), [])

  const plain = await world.mailNode('plain', { startMail: false })
  const bare = { ...plain.device, binding: certify(plain.identity, 'plain', { serial: 2, fallbackKem: false }) }
  await plain.stop()
  const bareNode = await world.mailNode('plain', { identity: plain.identity, device: bare, store: plain.store, startMail: false })
  await acquaint(ann, bareNode)
  await world.until(() => isLinked(ann, bareNode), HOUR)
  const told = await world.settle(ann.mail.tell('plain', 'when you can'))
  assert.equal(told.state, 'waiting')
  await bareNode.mail.start()
  await world.until(() => bareNode.came.length === 1, HOUR)
  await world.close()
})
