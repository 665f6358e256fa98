import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { gossipWorld, subscribersOf } from './support.ts'

test('publish, two linked nodes, the entry reaches the other once', async () => {
  const world = gossipWorld()
  const [ann, bob] = [await world.gossip('ann'), await world.gossip('bob')]
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'news') === 1 && subscribersOf(bob, 'news') === 1)
  const entry = await world.settle(ann.gossip.publish('news', utf8('hello')))
  await world.until(() => bob.hears('news').length > 0)
  await world.run(30_000)
  assert.deepEqual(bob.hears('news'), ['hello'])
  assert.deepEqual(ann.hears('news'), ['hello'])
  assert.equal(entry.author, ann.mesh.did)
  await world.close()
})

test('publish, three nodes in a row, the entry goes through the middle and keeps its author', async () => {
  const world = gossipWorld()
  const [ann, bob, cid] = [await world.gossip('ann'), await world.gossip('bob'), await world.gossip('cid')]
  await world.link(ann, bob)
  await world.link(bob, cid)
  await world.until(() => subscribersOf(bob, 'news') === 2)
  const published = await world.settle(ann.gossip.publish('news', utf8('hello')))
  await world.until(() => cid.hears('news').length > 0)
  const [kept] = await cid.gossip.entries('news')
  assert.equal(kept?.author, ann.mesh.did)
  assert.deepEqual(kept?.id, published.id)
  await world.close()
})

test('publish, a node that was away, gets what it missed when it comes back', async () => {
  const world = gossipWorld()
  const [ann, bob] = [await world.gossip('ann'), await world.gossip('bob')]
  for (let i = 0; i < 20; i++) await world.settle(ann.gossip.publish('news', utf8(`entry ${i}`)))
  await world.link(ann, bob)
  await world.until(() => bob.hears('news').length === 20)
  assert.deepEqual(
    bob.hears('news'),
    Array.from({ length: 20 }, (_, i) => `entry ${i}`),
  )
  await world.close()
})
