import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { type Did, didPublicKey } from '../../src/identity/did.ts'
import { openKnownKeys } from '../../src/mesh/known-keys.ts'
import { Directory } from '../../src/mesh/messages/directory.ts'
import type { DirectoryLimits } from '../../src/mesh/messages/directory-index.ts'
import type { DevicePapers } from '../../src/mesh/messages/types.ts'
import { certify, NOW, rotateIdentity, type TestIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'
import { codeOf, envelopeOf, knownTo, outcome, type Station, station } from './messages-support.ts'

const DAY = 86_400_000
const SUITES = { carrier: undefined, suite: 'ed25519', protocol: 'test' } as const

function papersOf(identity: TestIdentity, name: string, options: Parameters<typeof certify>[2] = {}): DevicePapers {
  return { did: identity.chain.did, binding: certify(identity, name, options), chain: encodeChain(identity.chain.entries) }
}

/** A directory with its own limits, beside a station's. */
async function directoryWith(
  limits: Partial<DirectoryLimits>,
  keeps: (did: Did) => boolean = () => false,
  store = createMemoryStore(),
): Promise<{ directory: Directory; at: Station }> {
  const at = await station('ben', { store })
  const { known, clock, device } = at.node
  return { directory: await Directory.open({ device: () => device, known, store, clock, logger: silentLogger, keeps, limits }), at }
}

function record(at: Station, from: Station, timeMs = at.clock.now()): Promise<string> {
  return codeOf(() => outcome(() => at.verifier.record(envelopeOf(from, at, 'record', { timeMs }), 'test:topic', SUITES)))
}

test('directory, papers that were told, give the machine’s keys, also after a restart', async () => {
  const store = createMemoryStore()
  const ben = await station('ben', { store })
  const ann = await station('ann', { mldsa: true })
  assert.equal(await ben.directory.keys(ann.did, ann.device), undefined)
  const learned = await ben.directory.learn(ann.papers())
  assert.deepEqual(learned.device, ann.device)
  assert.deepEqual(learned.key.mldsa, ann.node.device.mldsaSigner?.publicKey)
  await ben.directory.close()
  await ben.node.known.close()
  const again = await station('ben', { store })
  const keys = await again.directory.keys(ann.did, ann.device)
  assert.deepEqual(keys?.key, learned.key)
  assert.deepEqual(await again.directory.papers(ann.did, ann.device), ann.papers())
  assert.equal(await record(again, ann), 'none')
})

test('directory, own papers and devices, are always there', async () => {
  const ben = await station('ben')
  assert.deepEqual(ben.directory.own(), ben.papers())
  assert.deepEqual(await ben.directory.papers(ben.did, ben.device), ben.papers())
  const laptop = await station('ben/laptop', { identity: ben.node.identity })
  await knownTo(ben, laptop)
  assert.deepEqual(
    (await ben.directory.devicesOf(ben.did)).map(({ device }) => device),
    [ben.device, laptop.device],
  )
})

test('directory, renewed own binding, is the one shown from then on', async () => {
  const ben = await station('ben')
  ben.directory.own()
  ben.node.device.binding = certify(ben.node.identity, 'ben', { serial: 2 })
  assert.deepEqual(ben.directory.own().binding, ben.node.device.binding)
})

const ann = testIdentity('ann')
const eve = testIdentity('eve')
const BAD: readonly (readonly [string, () => DevicePapers, string])[] = [
  ['of another identity than they say', () => ({ ...papersOf(ann, 'ann'), did: eve.chain.did }), 'BINDING_INVALID'],
  ['with the chain of another identity', () => ({ ...papersOf(ann, 'ann'), chain: encodeChain(eve.chain.entries) }), 'CHAIN_INVALID'],
  ['without a chain, of somebody unknown', () => ({ ...papersOf(ann, 'ann'), chain: new Uint8Array(0) }), 'CHAIN_STALE'],
  ['with a chain that is no chain', () => ({ ...papersOf(ann, 'ann'), chain: Uint8Array.of(1, 2, 3) }), 'CHAIN_INVALID'],
  ['with a binding that is none', () => ({ ...papersOf(ann, 'ann'), binding: Uint8Array.of(1) }), 'BINDING_INVALID'],
  ['with 64 KiB of chain and more', () => ({ ...papersOf(ann, 'ann'), chain: new Uint8Array(64 * 1024 + 1) }), 'CHAIN_INVALID'],
  ['not valid yet', () => papersOf(ann, 'ann', { notBefore: NOW + DAY }), 'BINDING_INVALID'],
  [
    'with a changed byte',
    () => {
      const papers = papersOf(ann, 'ann')
      const binding = Uint8Array.from(papers.binding)
      binding[binding.length - 1] = (binding.at(-1) as number) ^ 1
      return { ...papers, binding }
    },
    'BINDING_INVALID',
  ],
]
for (const [name, make, code] of BAD) {
  test(`directory, papers ${name}, are refused`, async () => {
    const ben = await station('ben')
    const papers = make()
    assert.equal(await codeOf(() => ben.directory.learn(papers)), code)
    assert.equal(ben.directory.size, 0)
  })
}

test('directory, binding that has run out, counts for what was signed before its end', async () => {
  const ben = await station('ben')
  const ann = await station('ann', { notBefore: NOW - 31 * DAY, notAfter: NOW - DAY })
  await knownTo(ben, ann)
  assert.equal(await record(ben, ann, NOW - DAY - 1), 'none')
  assert.equal(await record(ben, ann, NOW - DAY), 'BINDING_EXPIRED')
  assert.deepEqual(await ben.directory.devicesOf(ann.did), [])
})

test('directory, renewed binding, replaces the older one, which cannot come back', async () => {
  const ben = await station('ben')
  const ann = await station('ann', { serial: 2, notAfter: NOW + 60 * DAY })
  await knownTo(ben, ann)
  const older = papersOf(ann.node.identity, 'ann', { serial: 1 })
  assert.equal((await ben.directory.learn(older)).notAfterMs, NOW + 60 * DAY)
  // What was signed before the renewal holds: the identity vouches for the key, whatever date it writes.
  assert.equal(await record(ben, ann, NOW - 20 * DAY), 'none')
})

test('directory, identity whose keys were compromised, loses the machines certified before', async () => {
  const ben = await station('ben')
  const ann = await station('ann')
  await knownTo(ben, ann)
  assert.equal(await record(ben, ann), 'none')
  rotateIdentity(ann.node.identity, { reason: 'compromised' })
  await ben.directory.learn(papersOf(ann.node.identity, 'ann/new'))
  assert.equal(await record(ben, ann), 'BINDING_INVALID')
  assert.equal(await ben.directory.keys(ann.did, ann.device), undefined)
  assert.equal((await ben.directory.devicesOf(ann.did)).length, 1)
  // Nor do its papers come in again.
  assert.equal(await codeOf(() => ben.directory.learn({ ...ann.papers(), chain: new Uint8Array(0) })), 'BINDING_INVALID')
  assert.equal(await record(ben, ann), 'BINDING_INVALID')
})

test('directory, identity that rotated on schedule, keeps its machines for 30 days', async () => {
  const ben = await station('ben')
  const ann = await station('ann', { notAfter: NOW + 100 * DAY })
  await knownTo(ben, ann)
  rotateIdentity(ann.node.identity, { now: NOW })
  await ben.directory.learn(papersOf(ann.node.identity, 'ann/new'))
  ben.clock.advance(29 * DAY)
  assert.equal(await record(ben, ann), 'none')
  ben.clock.advance(2 * DAY)
  assert.equal(await record(ben, ann), 'BINDING_EXPIRED')
})

test('directory, machine that was revoked, is refused at once', async () => {
  const ben = await station('ben')
  const ann = await station('ann')
  await knownTo(ben, ann)
  assert.equal(await record(ben, ann), 'none')
  const { known } = ben.node
  const binding = { serial: 1, deviceMldsa: undefined }
  known.learn({ did: ann.did, linkKey: ann.device, chain: ann.node.identity.chain, binding, boot: 1, run: new Uint8Array(8) })
  known.revoke(ann.did, ann.device)
  assert.equal(await record(ben, ann), 'DEVICE_REVOKED')
  assert.equal((await ben.directory.keys(ann.did, ann.device))?.revoked, true)
  assert.deepEqual(await ben.directory.devicesOf(ann.did), [])
})

test('directory, second history of an identity, is refused and the first one stands', async () => {
  const ben = await station('ben')
  const ann = testIdentity('ann')
  const other = testIdentity('ann')
  rotateIdentity(ann)
  rotateIdentity(other, { branch: 'other ' })
  await ben.directory.learn(papersOf(ann, 'ann'))
  assert.equal(await codeOf(() => ben.directory.learn(papersOf(other, 'ann/2'))), 'CHAIN_FORKED')
  assert.equal(ben.node.known.peer(ann.chain.did)?.forked, true)
})

test('directory, later key of another identity, is no identity of its own', async () => {
  const ben = await station('ben')
  const ann = testIdentity('ann')
  rotateIdentity(ann)
  await ben.directory.learn(papersOf(ann, 'ann'))
  const revealed = testIdentity('ann', { generation: 1 })
  assert.deepEqual(didPublicKey(revealed.chain.did), ann.chain.keys.ed25519)
  assert.equal(await codeOf(() => ben.directory.learn(papersOf(revealed, 'x'))), 'CHAIN_INVALID')
})

test('directory, identity seen with ML-DSA, is not accepted without, from papers or links', async () => {
  const ben = await station('ben')
  const ann = await station('ann', { mldsa: true })
  await knownTo(ben, ann)
  assert.equal(ben.node.known.peer(ann.did)?.mldsa, true)
  const classical = papersOf(ann.node.identity, 'ann', { serial: 9, deviceMldsa: false })
  assert.equal(await codeOf(() => ben.directory.learn(classical)), 'DOWNGRADE_REFUSED')
  const other = papersOf(ann.node.identity, 'ann/2', { deviceMldsa: false })
  assert.equal(await codeOf(() => ben.directory.learn(other)), 'DOWNGRADE_REFUSED')
})

test('directory, chain that grew since, is learned from its tail', async () => {
  const ben = await station('ben')
  const ann = testIdentity('ann')
  await ben.directory.learn(papersOf(ann, 'ann'))
  rotateIdentity(ann)
  const tail = encodeChain(ann.chain.entries.slice(1))
  await ben.directory.learn({ ...papersOf(ann, 'ann', { serial: 2 }), chain: tail })
  assert.equal((await ben.directory.chainOf(ann.chain.did))?.index, 1)
  rotateIdentity(ann, { now: NOW - 1 })
  rotateIdentity(ann, { now: NOW })
  const gap = encodeChain(ann.chain.entries.slice(3))
  assert.equal(await codeOf(() => ben.directory.learn({ ...papersOf(ann, 'ann', { serial: 3 }), chain: gap })), 'CHAIN_STALE')
})

test('directory, many learners of one identity at once, agree', async () => {
  const ben = await station('ben')
  const ann = await station('ann')
  const learned = await Promise.all(Array.from({ length: 10 }, () => ben.directory.learn(ann.papers())))
  assert.ok(learned.every(({ device }) => device === learned[0]?.device))
})

test('directory, more strangers than it holds, lets go of those used longest ago and keeps the owner’s', async () => {
  const kept = testIdentity('kept')
  const { directory } = await directoryWith({ machines: 5 }, (did) => did === kept.chain.did)
  await directory.learn(papersOf(kept, 'kept'))
  const strangers = Array.from({ length: 20 }, (_, i) => testIdentity(`stranger ${i}`))
  for (const [i, identity] of strangers.entries()) await directory.learn(papersOf(identity, `stranger ${i}`))
  assert.equal(directory.size, 5)
  assert.equal((await directory.devicesOf(kept.chain.did)).length, 1)
  assert.equal((await directory.devicesOf((strangers[0] as TestIdentity).chain.did)).length, 0)
  assert.equal((await directory.devicesOf((strangers[19] as TestIdentity).chain.did)).length, 1)
})

test('directory, stranger with many machines, has room for a few', async () => {
  const { directory } = await directoryWith({ machinesPerStranger: 3 })
  for (let i = 0; i < 10; i++) await directory.learn(papersOf(ann, `machine ${i}`))
  assert.equal((await directory.devicesOf(ann.chain.did)).length, 3)
})

test('directory, more keys than stay in memory, reads the others again', async () => {
  const { directory } = await directoryWith({ keys: 2 })
  const identities = Array.from({ length: 6 }, (_, i) => testIdentity(`many ${i}`))
  for (const [i, identity] of identities.entries()) await directory.learn(papersOf(identity, `many ${i}`))
  for (const [i, identity] of identities.entries()) {
    const device = testDevice(identity, `many ${i}`).linkSigner.publicKey
    assert.deepEqual((await directory.keys(identity.chain.did, device))?.device, device)
  }
})

test('known keys, identities that were only told, make room before those that were linked', async () => {
  const store = createMemoryStore()
  const ben = await station('ben', { store })
  const known = await openKnownKeys({ store, clock: ben.clock, log: silentLogger, limits: { told: 3, strangers: 100 } })
  const linked = testIdentity('linked')
  known.learn({
    did: linked.chain.did,
    linkKey: ben.device,
    chain: linked.chain,
    binding: { serial: 1, deviceMldsa: undefined },
    boot: 1,
    run: new Uint8Array(8),
  })
  for (let i = 0; i < 10; i++) known.adopt(testIdentity(`told ${i}`).chain)
  assert.ok(known.peer(linked.chain.did) !== undefined)
  assert.equal(known.size, 4)
  const version = known.versionOf(linked.chain.did)
  known.revoke(linked.chain.did, ben.device)
  assert.notEqual(known.versionOf(linked.chain.did), version)
  assert.equal(known.versionOf('did:icn:nobody' as Did), 0)
})
