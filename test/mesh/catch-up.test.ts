import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { NOW, rotateIdentity, testDevice } from './fixtures.ts'
import { acquaint, createWorld, type World, type WorldNode } from './mesh-support.ts'

function world(t: TestContext): World {
  const made = createWorld()
  t.after(() => made.close())
  return made
}

const statusOf = (at: WorldNode, of: WorldNode): string | undefined => at.mesh.chainOf(of.mesh.did)?.status
const linked = (a: WorldNode, b: WorldNode): boolean => a.mesh.links().some(({ did, state }) => did === b.mesh.did && state === 'connected')

/** They know each other, are linked, and the second one's keys are vouched for at the first. */
async function befriend(w: World, a: WorldNode, b: WorldNode): Promise<void> {
  await acquaint(a, b)
  await w.settle(a.mesh.dial(b.name))
  await w.settle(a.mesh.anchor(b.name))
}

test('machine that missed a rotation of its own identity, learns it from the peer that knew, whoever dials', async (t) => {
  for (const dialer of ['ann', 'bob'] as const) {
    const w = world(t)
    const [ann, bob] = [await w.node('ann'), await w.node('bob')]
    await acquaint(ann, bob)
    const elsewhere = { ...ann.identity }
    rotateIdentity(elsewhere)
    await w.settle(bob.mesh.messages.directory.learnChain(ann.mesh.did, elsewhere.chain.entries))
    await w.settle(dialer === 'ann' ? ann.mesh.dial('bob') : bob.mesh.dial('ann'))
    let index = 0
    await w.until(() => {
      void ann.mesh.messages.directory.chainOf(ann.mesh.did).then((chain) => {
        index = chain?.index ?? 0
      })
      return index === 1
    })
    assert.equal(statusOf(bob, ann), 'stale')
  }
})

test('first-seen peer, of whom two friends show the same last entry, is anchored; one friend is not enough', async (t) => {
  const w = world(t)
  const [me, ann, ben, cem] = [await w.node('me'), await w.node('ann'), await w.node('ben'), await w.node('cem')]
  for (const friend of [ben, cem]) await acquaint(friend, ann)
  await w.settle(ben.mesh.dial('ann'))
  await w.settle(cem.mesh.dial('ann'))
  await befriend(w, me, ben)
  await acquaint(me, ann)
  await w.settle(me.mesh.dial('ann'))
  await w.run(5_000)
  assert.equal(statusOf(me, ann), 'first-seen')
  // Asked again only after an hour.
  await w.run(3_700_000)
  await befriend(w, me, cem)
  w.network.sever('me', 'ann')
  await w.until(() => linked(me, ann) && statusOf(me, ann) === 'anchored', 600_000)
})

test('first-seen peer, of whom a partner shows the same last entry, is anchored', async (t) => {
  const w = world(t)
  const [me, ann, ben] = [await w.node('me'), await w.node('ann'), await w.node('ben')]
  await acquaint(ben, ann)
  await w.settle(ben.mesh.dial('ann'))
  await befriend(w, me, ben)
  await me.mesh.book.add(ben.mesh.did, { class: 'partner' })
  await acquaint(me, ann)
  await w.settle(me.mesh.dial('ann'))
  await w.until(() => statusOf(me, ann) === 'anchored')
})

test('first-seen peer, of whom a friend knows another history, is frozen', async (t) => {
  const w = world(t)
  const [me, ann, ben] = [await w.node('me'), await w.node('ann'), await w.node('ben')]
  const stolen = { ...ann.identity }
  rotateIdentity(ann.identity)
  rotateIdentity(stolen, { branch: 'other ' })
  await ben.mesh.book.add(ann.mesh.did, { name: 'ann' })
  await w.settle(ben.mesh.messages.directory.learnChain(ann.mesh.did, ann.identity.chain.entries))
  const thief = await w.node('thief', { identity: stolen, device: testDevice(stolen, 'thief', { notBefore: NOW - 60_000 }) })
  await me.mesh.book.add(ann.mesh.did, { name: 'ann', urls: [thief.url] })
  await w.settle(me.mesh.dial('ann'))
  assert.equal(statusOf(me, ann), 'first-seen')
  await acquaint(me, ben)
  await me.mesh.anchor('ben', { chain: encodeChain(ben.device.chain.entries) })
  await w.settle(me.mesh.dial('ben'))
  await w.until(() => statusOf(me, ann) === 'forked')
})
