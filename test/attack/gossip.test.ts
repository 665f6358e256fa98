import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Access } from '../../src/gossip/access.ts'
import { Cursors } from '../../src/gossip/cursor.ts'
import type { EntryStore } from '../../src/gossip/entry-store.ts'
import { gossipCounters } from '../../src/gossip/gossip-metrics.ts'
import type { Neighbour } from '../../src/gossip/neighbour.ts'
import { Serve } from '../../src/gossip/serve.ts'
import type { Topic } from '../../src/gossip/topic.ts'
import { END, type Item, START } from '../../src/gossip/topic-index.ts'
import { decodeFrame, type Frame, topicHash } from '../../src/gossip/wire.ts'
import type { Did } from '../../src/identity/did.ts'
import type { ConstraintSet, ViolationReport } from '../../src/mesh/types.ts'
import { EVERYTHING, entriesOf, gossipWorld, type Hostile, hostile, subscribersOf } from '../gossip/support.ts'

/** A linked neighbour that wants entries of others to vanish, or to learn which topics a node has. */

/** Answers everything it is asked with "there is more to come", and never comes to an end. `bring` is put into each answer. */
function neverEnds(eve: Hostile, bring: () => readonly Uint8Array[] = () => []): () => void {
  return () => {
    for (const { nonce } of [...eve.framesOf('request'), ...eve.framesOf('pull')])
      eve.say({ kind: 'entries', nonce, state: 'more', cursor: undefined, entries: bring() })
  }
}

test('an entry that a hostile neighbour announced first and never gives, is fetched from another', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['news'] })
  const ben = await world.gossip('ben')
  const entry = await ben.gossip.publish('news', utf8('wanted'))
  const stall = neverEnds(eve)
  eve.say({ kind: 'announce', handle: 1, urgent: true, ids: [entry.id] })
  await world.until(() => eve.framesOf('request').length > 0)
  stall()
  await world.link(ann, ben)
  for (let i = 0; i < 15 && entriesOf(ann, 'news') === 0; i++) {
    stall()
    await world.run(4_000)
  }
  assert.deepEqual(ann.hears('news'), ['wanted'])
  await world.close()
})

test('a range that a hostile neighbour never finishes giving, keeps nobody else from being compared with', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  const ben = await world.gossip('ben')
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['news'] })
  for (let i = 0; i < 300; i++) await ben.gossip.publish('news', utf8(`entry ${i}`))
  // It has much, it says: ann pulls.
  eve.say({
    kind: 'digest',
    nonce: 7,
    handle: 1,
    round: 0,
    from: START,
    ranges: [{ upper: END, mode: 'fingerprint', count: 5_000, fingerprint: new Uint8Array(16) }],
  })
  await world.until(() => eve.framesOf('pull').length > 0)
  let made = 0
  const stall = neverEnds(eve, () => [eve.craft({ data: utf8(`drop ${made++}`) })])
  stall()
  await world.link(ann, ben)
  const fromBen = (): number => ann.hears('news').filter((text) => text.startsWith('entry')).length
  for (let i = 0; i < 45 && fromBen() < 300; i++) {
    eve.say({
      kind: 'digest',
      nonce: 8 + i,
      handle: 1,
      round: 0,
      from: START,
      ranges: [{ upper: END, mode: 'fingerprint', count: 5_000, fingerprint: new Uint8Array(16) }],
    })
    stall()
    await world.run(4_000)
  }
  assert.equal(fromBen(), 300)
  await world.close()
})

test('a neighbour that may not read a topic, cannot tell it from one that does not exist', async () => {
  const world = gossipWorld()
  const violations: ViolationReport[] = []
  const ann = await world.gossip('ann', {
    topics: ['news', { name: 'plans', access: { kind: 'list', members: [] } }],
    gossip: { conduct: { report: (violation) => violations.push(violation) } },
  })
  const answers = async (name: string, probed: string): Promise<unknown> => {
    const eve = await hostile(world, name, ann, { subscribe: [] })
    eve.say({ kind: 'subscribe', topics: [{ handle: 1, topic: topicHash(probed) }] })
    eve.say({ kind: 'subscribe', topics: [{ handle: 1, topic: topicHash('news') }] })
    eve.say({ kind: 'pull', nonce: 3, handle: 1, ...EVERYTHING, maxBytes: 1_000, cursor: undefined })
    await world.run(2_000)
    return { reset: eve.reset.number, answers: eve.framesOf('entries').length, told: eve.framesOf('subscribe').length }
  }
  assert.deepEqual(await answers('eve', 'plans'), await answers('mal', 'nowhere'))
  assert.deepEqual(violations, [])
  assert.equal(subscribersOf(ann, 'plans'), 0)
  await world.close()
})

test('an author whom only one neighbour lets publish, does not hold up what that neighbour says', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  const ben = await world.gossip('ben')
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['news'] })
  await ben.mesh.policy.deny(eve.mesh.did, 'publish', 'news')
  await world.link(ann, ben)
  await world.until(() => subscribersOf(ann, 'news') === 2 && subscribersOf(ben, 'news') === 1)
  for (let i = 0; i < 5; i++) {
    eve.say({ kind: 'push', envelope: eve.craft({ data: utf8(`eve ${i}`) }) })
    await world.until(() => ann.hears('news').includes(`eve ${i}`))
    await world.run(100)
    await ann.gossip.publish('news', utf8(`ann ${i}`))
    await world.run(1_000)
    assert.equal(ben.hears('news').at(-1), `ann ${i}`)
  }
  await world.close()
})

test('a neighbour whose answers bring authors that are denied here, is read as fast as before', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  // What a neighbour may say that is of no use, is little here: twenty times the sum of rate and burst.
  const few = { messagesPerSecond: 1, burst: 1 }
  const ben = await world.gossip('ben', { config: { limits: { isolated: few, known: few, partner: few, federated: few } } })
  const eve = await hostile(world, 'eve', ann, { class: 'federated', subscribe: ['news'] })
  await ben.mesh.policy.deny(eve.mesh.did, 'publish', 'news')
  for (let i = 0; i < 200; i++) eve.say({ kind: 'push', envelope: eve.craft({ data: utf8(`eve ${i}`) }) })
  await world.until(() => ann.hears('news').length === 200)
  await world.link(ann, ben)
  await world.until(() => (ben.gossip.refusals.author_denied ?? 0) >= 200)
  await ann.gossip.publish('news', utf8('ann'))
  await world.run(100)
  assert.deepEqual(ben.hears('news'), ['ann'])
  await world.close()
})

test('a reader that is shut out while an answer to it waits for room, gets no more of it', async () => {
  const clock = manualClock()
  let admitted = true
  let makeRoom = (): void => undefined
  const frames: Frame[] = []
  const neighbour = {
    peer: 'eve',
    useless: () => undefined,
    outbox: {
      control: (bytes: Uint8Array) => void frames.push(decodeFrame(bytes.subarray(1 + bytes.findIndex((byte) => byte < 0x80)))),
      room: () => new Promise<void>((resolve) => (makeRoom = resolve)),
    },
  } as unknown as Neighbour
  const items = Array.from(
    { length: 4 },
    (_, i): Item => ({ key: `${i}`, id: new Uint8Array(32).fill(i), timeMs: i, size: 40_000, author: 'ann' as Did, slot: `${i}` }),
  )
  const topic = { name: 'plans', index: { get: (key: string) => items[Buffer.from(key, 'latin1')[0] ?? 0] } } as unknown as Topic
  const serve = new Serve({
    clock,
    logger: silentLogger,
    policy: { constraints: () => ({ pullBytes: 1_000_000, outstandingRequests: 4 }) as ConstraintSet },
    access: { may: () => admitted } as unknown as Access,
    store: { get: async () => new Uint8Array(40_000) } as unknown as EntryStore,
    cursors: new Cursors(clock, seededRandom('cursors')),
    counters: gossipCounters(),
  })
  serve.request(neighbour, topic, { nonce: 1, handle: 1, graft: false, ids: items.map(({ id }) => id) })
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve()
  }
  await settled()
  admitted = false
  makeRoom()
  await settled()
  const answers = frames.filter((frame): frame is Extract<Frame, { kind: 'entries' }> => frame.kind === 'entries')
  assert.deepEqual(
    answers.map(({ state, entries }) => [state, entries.length]),
    [
      ['more', 1],
      ['done', 0],
    ],
  )
})

test('an author who floods, does not hold up others who refer to what came too fast for somebody', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  const ben = await world.gossip('ben', { config: { limits: { isolated: { messagesPerSecond: 1, burst: 1 } } } })
  const eve = await hostile(world, 'eve', ann, { class: 'federated', subscribe: ['news'] })
  await world.link(ann, ben)
  await world.until(() => subscribersOf(ann, 'news') === 2 && subscribersOf(ben, 'news') === 1)
  for (let i = 0; i < 40; i++) eve.say({ kind: 'push', envelope: eve.craft({ data: utf8(`eve ${i}`) }) })
  await world.until(() => ann.hears('news').length === 40 && (ben.gossip.refusals.author_rate ?? 0) > 30)
  await ann.gossip.publish('news', utf8('ann'))
  await world.run(1_000)
  const heard = ben.hears('news')
  assert.equal(heard.at(-1), 'ann')
  // In order: what ann had seen last came before, and nothing says that something is missing.
  assert.ok(heard.includes('eve 39'))
  assert.ok(heard.length < 40, 'the flood itself is taken at its author’s rate')
  await world.close()
})

test('an entry that refers to what does not exist, holds up nobody who gets it later than others', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  const ben = await world.gossip('ben')
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['news'] })
  const ghost = { timeMs: world.clock.now(), id: seededRandom('ghost').bytes(32) }
  eve.say({ kind: 'push', envelope: eve.craft({ references: [ghost], data: utf8('poison') }) })
  await world.until(() => ann.hears('news').includes('poison'))
  await world.link(ann, ben)
  await world.until(() => entriesOf(ben, 'news') === 1)
  assert.deepEqual(ben.hears('news'), [])
  await ann.gossip.publish('news', utf8('honest'))
  await world.run(1_000)
  assert.deepEqual(ben.hears('news'), ['honest'])
  await world.until(() => ben.hears('news').includes('poison'))
  await world.close()
})
