import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { TopicOptions } from '../../src/gossip/types.ts'
import { testIdentity } from '../mesh/fixtures.ts'
import { assertEqualState, entriesOf, type GossipNode, type GossipWorld, gossipWorld, hostile, subscribersOf, textOf } from './support.ts'

/** Each node linked with the next ones. */
async function ring(world: GossipWorld, count: number, steps: readonly number[], topics: readonly (string | TopicOptions)[] = ['news']): Promise<GossipNode[]> {
  const nodes: GossipNode[] = []
  for (let i = 0; i < count; i++) nodes.push(await world.gossip(`n${i}`, { topics }))
  const at = (i: number): GossipNode => nodes[i % count] as GossipNode
  for (let i = 0; i < count; i++) for (const step of steps) await world.link(at(i), at(i + step))
  await world.until(() => nodes.every((node) => subscribersOf(node, 'news') === 2 * steps.length))
  return nodes
}

test('ten nodes, entries of all of them at once, reach everybody once, each author in order', async () => {
  const world = gossipWorld()
  const nodes = await ring(world, 10, [1, 3])
  for (let i = 0; i < 5; i++) for (const node of nodes) await world.settle(node.gossip.publish('news', utf8(`${node.name} ${i}`)))
  await world.until(() => nodes.every((node) => node.hears('news').length === 50))
  await world.run(30_000)
  for (const node of nodes) {
    assert.equal(node.hears('news').length, 50)
    for (const author of nodes) {
      assert.deepEqual(
        node.hears('news').filter((text) => text.startsWith(`${author.name} `)),
        Array.from({ length: 5 }, (_, i) => `${author.name} ${i}`),
      )
    }
  }
  await assertEqualState(nodes, 'news')
  await world.close()
})

test('ten nodes, after the tree has grown, bytes per delivery stay near one copy', async () => {
  const world = gossipWorld()
  const nodes = await ring(world, 10, [1, 3])
  const [first] = nodes as [GossipNode]
  const say = async (text: number): Promise<void> => void (await world.settle(first.gossip.publish('news', seededRandom(text).bytes(1_024))))
  for (let i = 0; i < 5; i++) await say(i)
  await world.run(2_000)
  const sent = (): number => nodes.reduce((sum, { mesh }) => sum + mesh.network().stats.bytesOut, 0)
  const before = sent()
  for (let i = 0; i < 50; i++) await say(100 + i)
  await world.until(() => nodes.every((node) => entriesOf(node, 'news') === 55))
  const perDelivery = (sent() - before) / (50 * 9)
  assert.ok(perDelivery < 1.6 * 1_250, `${perDelivery} bytes per delivery`)
  await world.close()
})

test('a branch that breaks, entries take another way at once', async () => {
  const world = gossipWorld()
  const nodes = await ring(world, 5, [1, 2])
  const [first, , third] = nodes as [GossipNode, GossipNode, GossipNode]
  await world.settle(first.gossip.publish('news', utf8('grows the tree')))
  await world.until(() => nodes.every((node) => node.hears('news').length === 1))
  world.network.cut(first.name, third.name)
  world.network.cut('n1', 'n2')
  await world.settle(first.gossip.publish('news', utf8('round the cut')))
  await world.until(() => nodes.every((node) => node.hears('news').length === 2), 5_000)
  world.network.mend(first.name, third.name)
  world.network.mend('n1', 'n2')
  await world.close()
})

test('partition, entries on both sides, both halves have all of them soon after it heals', async () => {
  const world = gossipWorld()
  const nodes = await ring(world, 6, [1, 2])
  const halves = [nodes.slice(0, 3), nodes.slice(3)] as const
  for (const a of halves[0]) for (const b of halves[1]) world.network.cut(a.name, b.name)
  for (let i = 0; i < 30; i++) {
    await world.settle((halves[0][i % 3] as GossipNode).gossip.publish('news', utf8(`left ${i}`)))
    await world.settle((halves[1][i % 3] as GossipNode).gossip.publish('news', utf8(`right ${i}`)))
  }
  await world.until(() => halves[0].every((node) => node.hears('news').filter((text) => text.startsWith('left')).length === 30))
  await world.run(120_000)
  for (const node of halves[0]) assert.equal(node.hears('news').filter((text) => text.startsWith('right')).length, 0)
  for (const a of halves[0]) for (const b of halves[1]) world.network.mend(a.name, b.name)
  for (const node of nodes) node.mesh.wake()
  await world.until(() => nodes.every((node) => node.hears('news').length === 60), 60_000)
  for (const node of nodes) assert.equal(new Set(node.hears('news')).size, 60)
  await assertEqualState(nodes, 'news')
  await world.close()
})

test('a newcomer, linked with four that have everything, fetches each entry about once', async () => {
  const world = gossipWorld()
  const nodes = await ring(world, 4, [1])
  const [first] = nodes as [GossipNode]
  for (let i = 0; i < 600; i++) {
    void first.gossip.publish('news', seededRandom(i).bytes(5_000))
    if (i % 20 === 0) await world.run(200)
  }
  await world.until(() => nodes.every((node) => entriesOf(node, 'news') === 600))
  await world.run(15_000)
  const late = await world.gossip('late')
  for (const node of nodes) await world.link(node, late, 'known')
  await world.until(() => entriesOf(late, 'news') === 600)
  await world.run(15_000)
  const bytes = late.mesh.network().stats.bytesIn
  assert.ok(bytes < 1.15 * 600 * 5_200, `${bytes} bytes`)
  await assertEqualState([...nodes, late], 'news')
  await world.close()
})

test('retention, three nodes that heard things in other orders, keep the same entries', async () => {
  const world = gossipWorld()
  const topics = [{ name: 'news', access: { kind: 'open' }, maxEntries: 20, maxBytes: 64 * 1024 }] as const
  const nodes = [await world.gossip('a', { topics }), await world.gossip('b', { topics }), await world.gossip('c', { topics })] as const
  for (let i = 0; i < 15; i++) {
    for (const node of nodes) {
      await world.settle(node.gossip.publish('news', utf8(`${node.name} ${i}`)))
      await world.run(7)
    }
  }
  for (const node of nodes) assert.equal(entriesOf(node, 'news'), 15)
  await world.link(nodes[0], nodes[1])
  await world.link(nodes[1], nodes[2])
  await world.run(60_000)
  await assertEqualState(nodes, 'news')
  for (const node of nodes) assert.ok(entriesOf(node, 'news') <= 20 && entriesOf(node, 'news') >= 18)
  await world.close()
})

test('retention by age, entries go everywhere and are not fetched again', async () => {
  const world = gossipWorld()
  const topics = [{ name: 'news', access: { kind: 'open' }, retainMs: 60_000 }] as const
  const [ann, bob] = [await world.gossip('ann', { topics }), await world.gossip('bob', { topics })]
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'news') === 1)
  await world.settle(ann.gossip.publish('news', utf8('old')))
  await world.until(() => bob.hears('news').length === 1)
  await world.run(90_000)
  await world.settle(ann.gossip.publish('news', utf8('new')))
  await world.run(30_000)
  for (const node of [ann, bob]) {
    assert.deepEqual(node.hears('news'), ['old', 'new'])
    assert.deepEqual((await node.gossip.entries('news')).map(textOf), ['new'])
  }
  await world.close()
})

test('restart, topics and entries are there again, numbers go on, and nothing is delivered twice', async () => {
  const world = gossipWorld()
  const store = createMemoryStore()
  const identity = testIdentity('ann')
  const first = await world.gossip('ann', { store, identity })
  for (let i = 0; i < 3; i++) await world.settle(first.gossip.publish('news', utf8(`${i}`)))
  await first.gossip.close()
  await world.settle(first.mesh.close())
  const again = await world.gossip('ann', { store, identity, topics: [], listen: 'memory://ann-again' })
  assert.deepEqual(
    again.gossip.topics().map(({ name, entries, access }) => ({ name, entries, access })),
    [{ name: 'news', entries: 3, access: { kind: 'open' } }],
  )
  const live: string[] = []
  const replayed: string[] = []
  again.gossip.listen('news', (entry) => live.push(textOf(entry)))
  again.gossip.listen('news', (entry) => replayed.push(textOf(entry)), { replay: true })
  const bob = await world.gossip('bob')
  await world.link(bob, again)
  const fourth = await world.settle(again.gossip.publish('news', utf8('3')))
  await world.until(() => bob.hears('news').length === 4)
  await world.until(() => replayed.length === 4)
  assert.deepEqual(bob.hears('news'), ['0', '1', '2', '3'])
  assert.deepEqual(live, ['3'])
  assert.deepEqual(replayed, ['0', '1', '2', '3'])
  assert.equal(fourth.epoch, 2)
  await world.close()
})

test('restart, an entry that was dropped for space, is known again and not delivered when somebody repeats it', async () => {
  const world = gossipWorld()
  const store = createMemoryStore()
  const identity = testIdentity('ann')
  const topics = [{ name: 'news', access: { kind: 'open' }, maxEntries: 4 } as const]
  const bob = await world.gossip('bob', { topics })
  const first = await world.gossip('ann', { store, identity, topics })
  await world.link(bob, first)
  const records: Uint8Array[] = []
  for (let i = 0; i < 4; i++) {
    for (const node of [bob, first]) records.push((await world.settle(node.gossip.publish('news', utf8(`${node.name} ${i}`)))).record.bytes)
    await world.run(1_000)
  }
  await world.until(() => first.hears('news').length === 8 && entriesOf(first, 'news') === 4)
  await first.gossip.close()
  await world.settle(first.mesh.close())
  const again = await world.gossip('ann', { store, identity, topics, listen: 'memory://ann-again' })
  const eve = await hostile(world, 'eve', again, { class: 'partner', subscribe: ['news'] })
  for (const envelope of records.slice(0, 4)) eve.say({ kind: 'push', envelope })
  await world.until(() => (again.gossip.refusals.no_room ?? 0) === 4)
  assert.deepEqual(again.hears('news'), [])
  assert.deepEqual((await again.gossip.entries('news')).map(textOf).sort(), ['ann 2', 'ann 3', 'bob 2', 'bob 3'])
  await world.close()
})

test('restart, a definition that is damaged in the store, admits nobody and says so', async () => {
  const world = gossipWorld()
  const store = createMemoryStore()
  const identity = testIdentity('ann')
  const first = await world.gossip('ann', { store, identity })
  await world.settle(first.gossip.publish('news', utf8('kept')))
  await first.gossip.close()
  await world.settle(first.mesh.close())
  await store.put('gossip/topics', utf8('news'), Uint8Array.of(1, 9))
  const again = await world.gossip('ann', { store, identity, topics: [], listen: 'memory://ann-again' })
  const bob = await world.gossip('bob')
  await world.link(bob, again)
  await world.settle(bob.gossip.publish('news', utf8('for ann')))
  await world.run(30_000)
  assert.deepEqual(
    again.gossip.topics().map(({ broken, entries, subscribers }) => ({ broken, entries, subscribers })),
    [{ broken: true, entries: 1, subscribers: 0 }],
  )
  assert.deepEqual(bob.hears('news'), ['for ann'])
  assert.match(again.mesh.why('bob', 'subscribe', 'news').rule ?? '', /could not be read/)
  await assert.rejects(again.gossip.publish('news', utf8('x')), (error) => isKithError(error, 'TOPIC_DENIED'))
  await again.gossip.remove('news')
  await again.gossip.define({ name: 'news', access: { kind: 'open' } })
  await world.until(() => entriesOf(again, 'news') === 1)
  await world.close()
})

test('define, after the other side subscribed already, still joins', async () => {
  const world = gossipWorld()
  const [ann, bob] = [await world.gossip('ann', { topics: [] }), await world.gossip('bob')]
  await world.link(ann, bob)
  await world.settle(bob.gossip.publish('news', utf8('early')))
  await world.run(5_000)
  await ann.gossip.define({ name: 'news', access: { kind: 'open' } })
  await world.until(() => entriesOf(ann, 'news') === 1 && subscribersOf(ann, 'news') === 1)
  await world.close()
})

test('several machines of one identity, linked with each other and a peer, all get the entries', async () => {
  const world = gossipWorld()
  const identity = testIdentity('ann')
  const { testDevice } = await import('../mesh/fixtures.ts')
  const laptop = await world.gossip('laptop', { identity, device: testDevice(identity, 'laptop') })
  const phone = await world.gossip('phone', { identity, device: testDevice(identity, 'phone') })
  const bob = await world.gossip('bob')
  await world.link(bob, laptop)
  await bob.mesh.book.add(phone.mesh.did, { urls: [phone.url] })
  await phone.mesh.book.add(bob.mesh.did, { name: 'bob', urls: [bob.url], class: 'partner' })
  await world.settle(phone.mesh.dial(bob.mesh.did))
  await world.until(() => subscribersOf(bob, 'news') === 2)
  await world.settle(bob.gossip.publish('news', utf8('to both')))
  await world.settle(phone.gossip.publish('news', utf8('from the phone')))
  await world.until(() => [laptop, phone, bob].every((node) => node.hears('news').length === 2))
  await world.close()
})

// ---- the interface

test('define, the same again, changes nothing; other options, a reserved name or too many are refused', async () => {
  const world = gossipWorld()
  const { gossip } = await world.gossip('ann', { gossip: { maxTopics: 2 } })
  await gossip.define({ name: 'news', access: { kind: 'open' } })
  await assert.rejects(gossip.define({ name: 'news', access: { kind: 'score', min: 1 } }), (error) => isKithError(error, 'TOPIC_EXISTS'))
  await assert.rejects(gossip.define({ name: 'network:candidates', access: { kind: 'open' } }), (error) => isKithError(error, 'TOPIC_RESERVED'))
  await assert.rejects(gossip.define({ name: 'a b', access: { kind: 'open' } }), TypeError)
  await gossip.define({ name: 'two', access: { kind: 'open' } })
  await assert.rejects(gossip.define({ name: 'three', access: { kind: 'open' } }), (error) => isKithError(error, 'TOPIC_LIMIT'))
  await world.close()
})

test('publish and subscribe, an unknown topic, a reserved one, too much data, are refused', async () => {
  const world = gossipWorld()
  const { gossip } = await world.gossip('ann')
  await assert.rejects(gossip.publish('nowhere', utf8('x')), (error) => isKithError(error, 'TOPIC_UNKNOWN'))
  await assert.rejects(gossip.publish('network:candidates', utf8('x')), (error) => isKithError(error, 'TOPIC_RESERVED'))
  assert.throws(
    () => gossip.subscribe('nowhere'),
    (error) => isKithError(error, 'TOPIC_UNKNOWN'),
  )
  await assert.rejects(gossip.publish('news', new Uint8Array(1_100_000)), (error) => isKithError(error, 'ENTRY_TOO_LARGE'))
  await assert.rejects(gossip.entries('news', { after: new Uint8Array(32) }), (error) => isKithError(error, 'NOT_FOUND'))
  await world.close()
})

test('remove, a topic, ends its readers, and its entries are gone from the store', async () => {
  const world = gossipWorld()
  const { gossip, store } = await world.gossip('ann')
  await world.settle(gossip.publish('news', utf8('x')))
  const reading = (async () => {
    const read: string[] = []
    for await (const entry of gossip.subscribe('news', { replay: true })) read.push(textOf(entry))
    return read
  })()
  await world.run(10)
  await gossip.remove('news')
  assert.deepEqual(await world.settle(reading), ['x'])
  for await (const { key } of store.scan('gossip/entries')) assert.fail(`left behind: ${key}`)
  assert.deepEqual(gossip.topics(), [])
  await world.close()
})

test('subscribe, a reader that is too slow, loses the oldest and is told how many', async () => {
  const world = gossipWorld()
  const { gossip } = await world.gossip('ann')
  const reader = gossip.subscribe('news')
  const first = reader.next()
  for (let i = 0; i < 1_030; i++) void gossip.publish('news', utf8(`${i}`))
  await world.run(100)
  const { value } = await first
  assert.equal(textOf(value), '6')
  assert.equal(value.lost, 6)
  const second = await reader.next()
  assert.equal(textOf(second.value), '7')
  assert.equal(second.value.lost, undefined)
  await reader.return?.()
  await world.close()
})

test('subscribe, the signal aborts, the iteration ends and nothing is left listening', async () => {
  const world = gossipWorld()
  const { gossip } = await world.gossip('ann')
  const abort = new AbortController()
  const read: string[] = []
  const reading = (async () => {
    for await (const entry of gossip.subscribe('news', { signal: abort.signal })) read.push(textOf(entry))
  })()
  await world.settle(gossip.publish('news', utf8('x')))
  await world.run(10)
  abort.abort()
  await world.settle(reading)
  assert.deepEqual(read, ['x'])
  await world.close()
})

test('a listener that throws, is logged and harms nobody', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  ann.gossip.listen('news', () => {
    throw new Error('mine')
  })
  await world.settle(ann.gossip.publish('news', utf8('x')))
  assert.deepEqual(ann.hears('news'), ['x'])
  await world.close()
})

test('entries, page by page, give all in the order of their times', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  for (let i = 0; i < 10; i++) {
    await world.settle(ann.gossip.publish('news', utf8(`${i}`)))
    await world.run(5)
  }
  const read: string[] = []
  for (let after: Uint8Array | undefined; ; ) {
    const page = await ann.gossip.entries('news', after === undefined ? { limit: 3 } : { limit: 3, after })
    read.push(...page.map(textOf))
    after = page.at(-1)?.id
    if (page.length < 3) break
  }
  assert.deepEqual(
    read,
    Array.from({ length: 10 }, (_, i) => `${i}`),
  )
  await world.close()
})

test('close, in the middle of things, leaves no timer and writes what was accepted', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  await ann.gossip.publish('news', utf8('x'))
  await ann.gossip.close()
  await ann.gossip.close()
  await assert.rejects(ann.gossip.publish('news', utf8('y')), (error) => isKithError(error, 'CLOSED'))
  let kept = 0
  for await (const _ of ann.store.scan('gossip/entries')) kept++
  assert.equal(kept, 1)
  await world.close()
  assert.equal(world.clock.pending, 0)
})
