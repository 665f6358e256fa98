import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { START } from '../../src/gossip/topic-index.ts'
import { EVERYTHING, entriesOf, gossipWorld, hostile, subscribersOf } from './support.ts'

/** A topic for ann and bob. */
async function members(world: ReturnType<typeof gossipWorld>) {
  const ann = await world.gossip('ann', { topics: [] })
  const bob = await world.gossip('bob', { topics: [] })
  for (const { gossip } of [ann, bob]) await gossip.define({ name: 'club', access: { kind: 'list', members: [ann.mesh.did, bob.mesh.did] } })
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'club') === 1)
  return { ann, bob }
}

test('list topic, a linked peer that is not on it, gets no id and no entry on any path', async () => {
  const world = gossipWorld()
  const { ann, bob } = await members(world)
  const eve = await hostile(world, 'eve', ann, { class: 'federated', subscribe: ['club'] })
  const entry = await world.settle(ann.gossip.publish('club', utf8('secret')))
  await world.until(() => entriesOf(bob, 'club') === 1)
  eve.say({ kind: 'request', nonce: 1, handle: 1, graft: true, ids: [entry.id] })
  eve.say({ kind: 'pull', nonce: 2, handle: 1, ...EVERYTHING, maxBytes: 1_000_000, cursor: undefined })
  eve.say({ kind: 'digest', nonce: 3, handle: 1, round: 0, from: START, ranges: [{ upper: EVERYTHING.to, mode: 'ids', ids: [] }] })
  await world.settle(ann.gossip.publish('club', utf8('another')))
  await world.run(30_000)
  assert.deepEqual(
    eve.framesOf('entries').map(({ nonce, state, entries }) => ({ nonce, state, entries })),
    [
      { nonce: 1, state: 'done', entries: [] },
      { nonce: 2, state: 'done', entries: [] },
    ],
  )
  for (const kind of ['push', 'announce', 'digest', 'subscribe'] as const) assert.deepEqual(eve.framesOf(kind), [], kind)
  assert.ok((ann.gossip.refusals.reader_denied ?? 0) >= 4)
  assert.equal(subscribersOf(ann, 'club'), 1)
  await world.close()
})

test('list topic, an entry of somebody who is not on it, is refused by every receiver, whoever brings it', async () => {
  const world = gossipWorld()
  const { ann, bob } = await members(world)
  const eve = await hostile(world, 'eve', ann, { class: 'federated', subscribe: ['club'] })
  eve.say({ kind: 'push', envelope: eve.craft({ topic: 'club' }) })
  await world.until(() => (ann.gossip.refusals.carrier_denied ?? 0) === 1)
  // Ann allows her by hand; bob did not, and refuses what ann passes on.
  await ann.mesh.policy.allow('eve', 'publish', 'club')
  eve.say({ kind: 'push', envelope: eve.craft({ topic: 'club' }) })
  await world.until(() => entriesOf(ann, 'club') === 1)
  await world.until(() => (bob.gossip.refusals.author_denied ?? 0) > 0)
  assert.equal(entriesOf(bob, 'club'), 0)
  await world.close()
})

test('list topic, publishing without being on it, is denied at once', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann', { topics: [{ name: 'club', access: { kind: 'list', members: [] } }] })
  await assert.rejects(ann.gossip.publish('club', utf8('x')), (error) => isKithError(error, 'TOPIC_DENIED'))
  await world.close()
})

test('score topic, a peer below, may neither read nor publish until its class rises', async () => {
  const world = gossipWorld()
  const topics = [{ name: 'partners', access: { kind: 'score', min: 4_000 } }] as const
  const [ann, bob] = [await world.gossip('ann', { topics }), await world.gossip('bob', { topics })]
  await world.link(ann, bob, 'known')
  await world.settle(ann.gossip.publish('partners', utf8('one')))
  await world.settle(bob.gossip.publish('partners', utf8('two')))
  await world.run(30_000)
  assert.deepEqual([ann.hears('partners'), bob.hears('partners')], [['one'], ['two']])
  assert.equal(subscribersOf(ann, 'partners'), 0)
  await ann.mesh.book.add(bob.mesh.did, { class: 'partner' })
  await bob.mesh.book.add(ann.mesh.did, { class: 'partner' })
  await world.settle(Promise.all([ann.mesh.anchor(bob.mesh.did), bob.mesh.anchor(ann.mesh.did)]))
  await world.until(() => ann.hears('partners').length === 2 && bob.hears('partners').length === 2)
  await world.close()
})

test('open topic, the owner denies a peer, its entries and its reading end, and why says by which rule', async () => {
  const world = gossipWorld()
  const [ann, bob] = [await world.gossip('ann'), await world.gossip('bob')]
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'news') === 1)
  await ann.mesh.policy.deny('bob', 'publish', 'news')
  await world.settle(bob.gossip.publish('news', utf8('from bob')))
  await world.settle(ann.gossip.publish('news', utf8('from ann')))
  await world.until(() => bob.hears('news').length === 2)
  await world.run(30_000)
  assert.deepEqual(ann.hears('news'), ['from ann'])
  assert.ok((ann.gossip.refusals.author_denied ?? 0) > 0)
  const why = ann.mesh.why('bob', 'publish', 'news')
  assert.equal(why.decision, 'denied')
  assert.match(why.rule ?? '', /deny .* publish news/)
  await ann.mesh.policy.deny('bob', 'subscribe', 'news')
  await world.settle(ann.gossip.publish('news', utf8('not for bob')))
  await world.run(30_000)
  assert.equal(bob.hears('news').length, 2)
  await world.close()
})

test('open topic, entries whose author is denied here, are not sent again and again, and come once the owner allows it', async () => {
  const world = gossipWorld()
  const [ann, bob] = [await world.gossip('ann'), await world.gossip('bob')]
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'news') === 1)
  await ann.mesh.policy.deny('bob', 'publish', 'news')
  for (let i = 0; i < 10; i++) await world.settle(bob.gossip.publish('news', Buffer.alloc(1_000, `${i}`)))
  await world.run(60_000)
  const refused = ann.gossip.refusals.author_denied ?? 0
  assert.equal(refused, 10)
  await world.run(3_600_000)
  assert.equal(ann.gossip.refusals.author_denied, refused, 'they were sent again')
  await ann.mesh.policy.allow('bob', 'publish', 'news')
  await world.until(() => ann.hears('news').length === 10, 120_000)
  await world.close()
})

test('why, a topic with a list, says what the topic decided and the command that changes it', async () => {
  const world = gossipWorld()
  const { ann } = await members(world)
  const eve = await world.gossip('eve')
  await ann.mesh.book.add(eve.mesh.did, { name: 'eve' })
  const why = ann.mesh.why('eve', 'publish', 'club')
  assert.equal(why.decision, 'denied')
  assert.match(why.rule ?? '', /not on the list of the topic club/)
  assert.match(why.next ?? '', /kith allow .* publish club/)
  assert.equal(ann.mesh.why('bob', 'subscribe', 'club').decision, 'allowed')
  assert.match(ann.mesh.why('bob', 'subscribe', 'nowhere').rule ?? '', /no such topic/)
  await world.close()
})

test('list topic, its name, is not told to a peer that has nothing to do with it', async () => {
  const world = gossipWorld()
  const { ann } = await members(world)
  const eve = await hostile(world, 'eve', ann, { class: 'known' })
  await world.run(15_000)
  assert.deepEqual(eve.framesOf('subscribe'), [])
  await world.close()
})
