import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { toHex } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { decodeBinding } from '../../src/identity/binding.ts'
import { adoptChain, anchorChain, repinChain } from '../../src/identity/chain.ts'
import { type KnownKeys, type Learned, openKnownKeys } from '../../src/mesh/known-keys.ts'
import { decodeDevice, decodeKnown } from '../../src/mesh/known-keys-codec.ts'
import { certify, NOW, rotateIdentity, runOf, type TestNode, testIdentity, testNode } from './fixtures.ts'

function learned(node: TestNode, changes: Partial<Learned> = {}): Learned {
  const { identity, device, linkKey } = node
  return { did: device.did, linkKey, chain: identity.chain, binding: decodeBinding(device.binding), boot: 1, run: runOf('one'), ...changes }
}

async function open(store: Store = createMemoryStore(), limits = {}): Promise<{ known: KnownKeys; store: Store; clock: ReturnType<typeof manualClock> }> {
  const clock = manualClock(NOW)
  return { known: await openKnownKeys({ store, clock, log: silentLogger, limits }), store, clock }
}

async function rows(store: Store, ns: string): Promise<number> {
  let count = 0
  for await (const _ of store.scan(ns)) count++
  return count
}

describe('known keys', () => {
  test('what was learned survives a restart: chain, pin, serial, boot, revocation', async () => {
    const ann = await testNode('ann', { mldsa: true, serial: 7 })
    rotateIdentity(ann.identity)
    const { known, store } = await open()
    known.learn(learned(ann, { boot: 12 }))
    known.keep(ann.device.did)
    known.revoke(ann.device.did, ann.linkKey)
    await known.close()
    const { known: again } = await open(store)
    const peer = again.peer(ann.device.did)
    assert.deepEqual([peer?.kept, peer?.mldsa, peer?.forked, peer?.index, peer?.firstSeenMs], [true, true, false, 1, NOW])
    const device = again.device(ann.device.did, ann.linkKey)
    assert.deepEqual([device?.serial, device?.boot, device?.revoked], [7, 12, true])
    const chain = await again.chain(ann.device.did)
    assert.deepEqual([chain?.index, chain?.did], [1, ann.device.did])
    assert.equal(again.revealedBy(ann.identity.chain.keys.ed25519), ann.device.did)
  })

  test('serials and boots only rise, whatever is learned later', async () => {
    const ann = await testNode('ann')
    const { known } = await open()
    known.learn(learned(ann, { boot: 5, binding: { serial: 9, deviceMldsa: undefined } }))
    known.learn(learned(ann, { boot: 4, run: runOf('two'), binding: { serial: 8, deviceMldsa: undefined } }))
    const device = known.device(ann.device.did, ann.linkKey)
    assert.deepEqual([device?.serial, device?.boot, device?.run], [9, 5, runOf('one')])
    known.revoke(ann.device.did, ann.linkKey)
    known.learn(learned(ann, { boot: 6 }))
    assert.equal(known.device(ann.device.did, ann.linkKey)?.revoked, true)
  })

  test('a shorter chain never replaces a longer one', async () => {
    const ann = await testNode('ann')
    const short = ann.identity.chain
    rotateIdentity(ann.identity)
    const { known } = await open()
    known.adopt(ann.identity.chain)
    known.adopt(short)
    known.learn(learned(ann, { chain: short }))
    assert.equal(known.peer(ann.device.did)?.index, 1)
    assert.equal((await known.chain(ann.device.did))?.index, 1)
  })

  test('an anchor survives a greeting that began before it, and the growth of the chain', async () => {
    const ann = await testNode('ann')
    const before = ann.identity.chain
    const { known, store } = await open()
    known.learn(learned(ann))
    known.adopt(anchorChain(before))
    known.learn(learned(ann, { chain: before }))
    assert.equal((await known.chain(ann.device.did))?.status, 'anchored')
    rotateIdentity(ann.identity)
    known.learn(learned(ann))
    await known.close()
    const { known: again } = await open(store)
    assert.deepEqual([again.peer(ann.device.did)?.anchored, (await again.chain(ann.device.did))?.status], [true, 'anchored'])
  })

  test('a fork is not taken back by what was worked out before it, only by a person', async () => {
    const ann = await testNode('ann')
    const other = { ...ann.identity }
    rotateIdentity(ann.identity)
    rotateIdentity(other, { branch: 'other ' })
    const { known } = await open()
    known.learn(learned(ann))
    const { state, outcome } = adoptChain(ann.identity.chain, other.chain.entries, { now: NOW })
    assert.equal(outcome, 'forked')
    known.adopt(state)
    known.learn(learned(ann))
    assert.deepEqual([known.peer(ann.device.did)?.forked, (await known.chain(ann.device.did))?.status], [true, 'forked'])
    known.repin(repinChain(state, other.chain.entries, { now: NOW }))
    const chain = await known.chain(ann.device.did)
    assert.deepEqual([known.peer(ann.device.did)?.forked, chain?.status, toHex(chain?.head ?? new Uint8Array())], [false, 'anchored', toHex(other.chain.head)])
  })

  test('writes wait for each other and reach the store as one batch after a moment', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { known, store, clock } = await open()
    let batches = 0
    const batch = store.batch.bind(store)
    store.batch = (operations, options) => {
      batches++
      return batch(operations, options)
    }
    known.learn(learned(ann))
    known.learn(learned(bob))
    assert.equal(await rows(store, 'mesh/known'), 0)
    await clock.run(50)
    await known.flush()
    assert.equal(batches, 1)
    assert.equal(await rows(store, 'mesh/known'), 2)
    assert.equal(clock.pending, 0)
  })

  test('a store that fails once: flush says so, nothing is lost, it is tried again', async () => {
    const ann = await testNode('ann')
    const { known, store, clock } = await open()
    const batch = store.batch.bind(store)
    store.batch = async () => {
      throw new KithError('STORE_FAILED')
    }
    known.learn(learned(ann))
    await assert.rejects(known.flush(), (error: KithError) => error.code === 'STORE_FAILED')
    assert.equal((await known.chain(ann.device.did))?.index, 0)
    await clock.run(50)
    store.batch = batch
    await clock.run(5_000)
    assert.equal(await rows(store, 'mesh/chain'), 1)
  })

  test('a chain that has left memory is read again; one on its way to the store is not missed', async () => {
    const [ann, bob] = [await testNode('ann'), await testNode('bob')]
    const { known } = await open(createMemoryStore(), { chains: 1 })
    known.learn(learned(ann))
    known.learn(learned(bob))
    assert.equal((await known.chain(ann.device.did))?.did, ann.device.did)
    await known.flush()
    assert.equal((await known.chain(bob.device.did))?.did, bob.device.did)
    assert.equal((await known.chain(ann.device.did))?.did, ann.device.did)
  })

  test('strangers beyond the limit: the one seen longest ago is forgotten, those who are kept stay', async () => {
    const { known, store, clock } = await open(createMemoryStore(), { strangers: 3 })
    const nodes = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => testNode(name)))
    const [a, b, c, d, e] = nodes as [TestNode, TestNode, TestNode, TestNode, TestNode]
    for (const node of [a, b, c]) {
      known.learn(learned(node))
      clock.advance(1)
    }
    known.keep(a.device.did)
    known.learn(learned(b))
    known.learn(learned(d))
    known.learn(learned(e))
    await known.flush()
    assert.deepEqual(
      nodes.map((node) => known.peer(node.device.did) !== undefined),
      [true, true, false, true, true],
    )
    assert.deepEqual([await rows(store, 'mesh/known'), await rows(store, 'mesh/chain'), await rows(store, 'mesh/device')], [4, 4, 4])
    const { known: again } = await open(store, { strangers: 3 })
    assert.equal(again.size, 4)
  })

  test('a stranger’s devices beyond the limit: the oldest is forgotten, a revoked one never', async () => {
    const identity = testIdentity('ann')
    const { known, clock } = await open(createMemoryStore(), { devicesPerStranger: 2 })
    const devices = await Promise.all(['one', 'two', 'three'].map((name) => testNode(name, { identity })))
    for (const device of devices) {
      known.learn(learned(device))
      if (device === devices[0]) known.revoke(identity.chain.did, device.linkKey)
      clock.advance(1)
    }
    assert.deepEqual(
      devices.map((device) => known.device(identity.chain.did, device.linkKey) !== undefined),
      [true, false, true],
    )
  })

  test('a revoked device of a stranger, is remembered whoever crowds in', async () => {
    const { known, clock } = await open(createMemoryStore(), { strangers: 2 })
    const nodes = await Promise.all(['a', 'b', 'c', 'd'].map((name) => testNode(name)))
    for (const [index, node] of nodes.entries()) {
      known.learn(learned(node))
      if (index === 0) known.revoke(node.device.did, node.linkKey)
      clock.advance(1)
    }
    assert.deepEqual(
      nodes.map((node) => known.peer(node.device.did) !== undefined),
      [true, false, false, true],
    )
  })

  test('forgetting leaves no row behind', async () => {
    const ann = await testNode('ann')
    rotateIdentity(ann.identity)
    const { known, store } = await open()
    known.learn(learned(ann))
    await known.flush()
    known.forget(ann.device.did)
    await known.flush()
    for (const ns of ['mesh/known', 'mesh/chain', 'mesh/device', 'mesh/revealed']) assert.equal(await rows(store, ns), 0, ns)
    assert.equal(await known.chain(ann.device.did), undefined)
    assert.equal(known.revealedBy(ann.identity.chain.keys.ed25519), undefined)
  })

  test('revoking a device that was never seen, PEER_UNKNOWN', async () => {
    const ann = await testNode('ann')
    const { known } = await open()
    assert.throws(
      () => known.revoke(ann.device.did, ann.linkKey),
      (error: KithError) => error.code === 'PEER_UNKNOWN',
    )
  })

  test('damaged rows, WIRE_MALFORMED', () => {
    assert.throws(
      () => decodeKnown(new Uint8Array(10)),
      (error: KithError) => error.code === 'WIRE_MALFORMED',
    )
    assert.throws(
      () => decodeDevice(new Uint8Array(34).fill(2)),
      (error: KithError) => error.code === 'WIRE_MALFORMED',
    )
    assert.ok(certify(testIdentity('ann'), 'ann').length > 0)
  })
})
