import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { toHex, utf8 } from '../../src/core/bytes.ts'
import { bytes, bytesN, constant, encode, list, struct, u8, uint53, varint } from '../../src/core/codec.ts'
import { KithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { END, START } from '../../src/gossip/topic-index.ts'
import { type Frame, topicHash } from '../../src/gossip/wire.ts'
import type { Equivocation } from '../../src/mesh/messages/types.ts'
import type { ViolationReport } from '../../src/mesh/types.ts'
import { testIdentity } from '../mesh/fixtures.ts'
import { liveBufferBytes } from '../support/collect.ts'
import { EVERYTHING, entriesOf, type GossipNode, gossipWorld, hostile, subscribersOf } from './support.ts'

const refused = (node: GossipNode, reason: string): number => node.gossip.refusals[reason] ?? 0

async function victim(options: { class?: 'isolated' | 'known' | 'partner' | 'federated' } = {}) {
  const world = gossipWorld()
  const violations: ViolationReport[] = []
  const equivocations: Equivocation[] = []
  const ann = await world.gossip('ann', {
    gossip: { conduct: { report: (violation) => violations.push(violation) }, onEquivocation: (found) => equivocations.push(found) },
  })
  const eve = await hostile(world, 'eve', ann, { class: options.class ?? 'partner', subscribe: ['news'] })
  return { world, ann, eve, violations, equivocations }
}

// ---- entries

test('push, a valid entry of a linked author, is taken', async () => {
  const { world, ann, eve } = await victim()
  eve.say({ kind: 'push', envelope: eve.craft({ data: utf8('hello') }) })
  await world.until(() => ann.hears('news').length === 1)
  await world.close()
})

test('push, an entry that names another author, is not taken', async () => {
  const { world, ann, eve } = await victim()
  const bob = await world.gossip('bob')
  await world.link(ann, bob)
  eve.say({ kind: 'push', envelope: eve.craft({ from: bob.device.didKey }) })
  await world.until(() => refused(ann, 'unknown_device') + refused(ann, 'signature') + refused(ann, 'device') === 1)
  await world.run(15_000)
  assert.deepEqual(ann.hears('news'), [])
  await world.close()
})

test('push, an entry whose bytes a relay changed, is not taken and charged to the relay; the true one still is', async () => {
  const { world, ann, eve } = await victim()
  const bob = await world.gossip('bob')
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'news') >= 1)
  const record = bob.mesh.messages.signRecord({ topic: 'news', type: 1, payload: Uint8Array.from([1, 0, 1, 0, 1, 65]) })
  const forged = Uint8Array.from(record.bytes)
  forged[forged.length - 65] = 66
  const bent = Uint8Array.from(record.bytes)
  bent[bent.length - 1] = (bent[bent.length - 1] as number) ^ 1
  eve.say({ kind: 'push', envelope: forged })
  eve.say({ kind: 'push', envelope: bent })
  await world.until(() => refused(ann, 'signature') === 2)
  assert.deepEqual(ann.hears('news'), [])
  eve.say({ kind: 'push', envelope: record.bytes })
  await world.until(() => ann.hears('news').length === 1)
  assert.deepEqual(ann.hears('news'), ['A'])
  await world.close()
})

test('push, an unknown or reserved topic, is counted, makes no topic and is no violation', async () => {
  const { world, ann, eve, violations } = await victim()
  eve.say({ kind: 'push', envelope: eve.craft({ topic: 'nowhere' }) })
  eve.say({ kind: 'push', envelope: eve.craft({ topic: 'network:candidates' }) })
  eve.say({ kind: 'subscribe', topics: [{ handle: 77, topic: topicHash('nowhere') }] })
  await world.until(() => refused(ann, 'unknown_topic') === 2 && refused(ann, 'reserved') === 1)
  assert.deepEqual(
    ann.gossip.topics().map(({ name }) => name),
    ['news'],
  )
  assert.deepEqual(violations, [])
  assert.equal(eve.reset.number, undefined)
  await world.close()
})

test('push, bytes that are no envelope, are a violation and end the stream', async () => {
  const { world, ann, eve, violations } = await victim()
  eve.say({ kind: 'push', envelope: eve.craft().subarray(0, 150) })
  await world.until(() => eve.reset.number !== undefined)
  assert.equal(eve.reset.number, new KithError('WIRE_MALFORMED').number)
  assert.deepEqual(
    violations.map(({ peer, kind, protocol }) => ({ peer, kind, protocol })),
    [{ peer: eve.mesh.did, kind: 'malformed-frame', protocol: 'icn/gossip/1' }],
  )
  assert.equal(refused(ann, 'malformed'), 1)
  await world.close()
})

test('push, an entry of the future or older than what is kept, is refused and no violation', async () => {
  const { world, ann, eve, violations } = await victim()
  eve.say({ kind: 'push', envelope: eve.craft({ timeMs: world.clock.now() + 601_000 }) })
  eve.say({ kind: 'push', envelope: eve.craft({ timeMs: world.clock.now() - 31 * 86_400_000 }) })
  eve.say({ kind: 'push', envelope: eve.craft({ timeMs: 0 }) })
  await world.until(() => refused(ann, 'too_early') === 1 && refused(ann, 'too_old') === 2)
  assert.equal(entriesOf(ann, 'news'), 0)
  assert.deepEqual(violations, [])
  await world.close()
})

test('push, number 0, is refused; the largest number is an ordinary one', async () => {
  const { world, ann, eve } = await victim()
  eve.say({ kind: 'push', envelope: eve.craft({ seq: 0 }) })
  await world.until(() => refused(ann, 'device') === 1)
  eve.say({ kind: 'push', envelope: eve.craft({ seq: Number.MAX_SAFE_INTEGER, epoch: Number.MAX_SAFE_INTEGER }) })
  await world.until(() => entriesOf(ann, 'news') === 1)
  await world.close()
})

test('push, a compression bomb its author signed, is neither kept nor passed on', async () => {
  const { world, ann, eve } = await victim()
  const codec = struct({
    _version: constant(1),
    form: u8,
    length: varint,
    references: list(struct({ timeMs: uint53, id: bytesN(32) }), 8),
    data: bytes(100_000),
  })
  const bomb = zstdCompressSync(Buffer.alloc(64 * 2 ** 20))
  for (const length of [50_000, 1_000_000, 60 * 2 ** 20]) {
    eve.say({ kind: 'push', envelope: eve.craft({ payload: encode(codec, { _version: undefined, form: 1, length, references: [], data: bomb }) }) })
  }
  await world.until(() => refused(ann, 'payload') + refused(ann, 'too_large') === 3)
  assert.equal(entriesOf(ann, 'news'), 0)
  await world.close()
})

test('push, a small entry that inflates beyond what its author may publish, is too large', async () => {
  const { world, ann, eve } = await victim({ class: 'known' })
  eve.say({ kind: 'push', envelope: eve.craft({ data: new Uint8Array(300 * 1024) }) })
  await world.until(() => refused(ann, 'too_large') === 1)
  eve.say({ kind: 'push', envelope: eve.craft({ data: new Uint8Array(200 * 1024) }) })
  await world.until(() => entriesOf(ann, 'news') === 1)
  await world.close()
})

test('push, an entry above the class of who carries it, is passed over without being kept in memory', async () => {
  const { world, ann, eve } = await victim({ class: 'isolated' })
  const noise = seededRandom('noise').bytes(200 * 1024)
  eve.say({ kind: 'push', envelope: eve.craft({ data: noise }) })
  eve.say({ kind: 'push', envelope: eve.craft({ data: utf8('small') }) })
  await world.until(() => ann.hears('news').length === 1)
  assert.deepEqual(ann.hears('news'), ['small'])
  assert.equal(refused(ann, 'too_large'), 1)
  await world.close()
})

test('push, more than the rate of its author, comes with the next comparison instead, and nothing is lost', async () => {
  const world = gossipWorld()
  const limits = { partner: { messagesPerSecond: 5, burst: 5 } }
  const ann = await world.gossip('ann', { config: { limits } })
  const bob = await world.gossip('bob')
  await world.link(ann, bob)
  await world.until(() => subscribersOf(bob, 'news') === 1)
  for (let i = 0; i < 40; i++) await world.settle(bob.gossip.publish('news', utf8(`${i}`)))
  await world.until(() => refused(ann, 'author_rate') > 0)
  assert.ok(ann.hears('news').length < 40)
  await world.until(() => ann.hears('news').length === 40)
  assert.equal(new Set(ann.hears('news')).size, 40)
  await world.close()
})

test('push, a thousand forged entries that name an author, leave the budget of that author alone', async () => {
  const world = gossipWorld()
  const limits = { partner: { messagesPerSecond: 5, burst: 5 } }
  const ann = await world.gossip('ann', { config: { limits } })
  const bob = await world.gossip('bob')
  const eve = await hostile(world, 'eve', ann, { class: 'federated', subscribe: ['news'] })
  await world.link(ann, bob)
  await world.until(() => subscribersOf(bob, 'news') === 1)
  for (let i = 0; i < 1_000; i++) {
    const record = Uint8Array.from(bob.mesh.messages.signRecord({ topic: 'news', type: 1, payload: Uint8Array.from([1, 0, 1, 0, 1, 65]) }).bytes)
    record[record.length - 1] = (record[record.length - 1] as number) ^ 1
    eve.say({ kind: 'push', envelope: record })
  }
  await world.until(() => refused(ann, 'signature') + refused(ann, 'verifier_busy') === 1_000)
  for (let i = 0; i < 5; i++) await world.settle(bob.gossip.publish('news', utf8(`${i}`)))
  await world.until(() => ann.hears('news').length === 5, 2_000)
  assert.equal(refused(ann, 'author_rate'), 0)
  await world.close()
})

test('push, two bodies under one number, keep the first and hand both over as proof', async () => {
  const { world, ann, eve, equivocations } = await victim()
  const first = eve.craft({ seq: 7, data: utf8('yes') })
  const second = eve.craft({ seq: 7, data: utf8('no') })
  eve.say({ kind: 'push', envelope: first })
  await world.until(() => ann.hears('news').length === 1)
  eve.say({ kind: 'push', envelope: second })
  await world.until(() => equivocations.length === 1)
  assert.deepEqual(ann.hears('news'), ['yes'])
  assert.equal(equivocations[0]?.did, eve.mesh.did)
  assert.deepEqual(new Set(equivocations[0]?.proof.map(toHex)), new Set([first, second].map(toHex)))
  assert.equal(refused(ann, 'equivocation'), 1)
  await world.close()
})

test('hybrid topic, an entry with the classical signature alone, is refused', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann', { topics: [{ name: 'safe', access: { kind: 'open' }, suite: 'hybrid' }] })
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['safe'] })
  eve.say({ kind: 'push', envelope: eve.craft({ topic: 'safe' }) })
  await world.until(() => refused(ann, 'suite') === 1)
  assert.equal(entriesOf(ann, 'safe'), 0)
  await world.close()
})

test('references, to what does not exist and to the end of time, hold up nobody else', async () => {
  const { world, ann, eve } = await victim()
  const bob = await world.gossip('bob')
  await world.link(ann, bob)
  await world.until(() => subscribersOf(ann, 'news') >= 2)
  const references = Array.from({ length: 8 }, (_, i) => ({ timeMs: Number.MAX_SAFE_INTEGER - i, id: seededRandom(i).bytes(32) }))
  eve.say({ kind: 'push', envelope: eve.craft({ references, data: utf8('poison') }) })
  await world.until(() => entriesOf(ann, 'news') === 1 && entriesOf(bob, 'news') === 1)
  await world.settle(bob.gossip.publish('news', utf8('honest')))
  await world.until(() => ann.hears('news').length > 0)
  assert.deepEqual(ann.hears('news'), ['honest'])
  await world.run(12_000)
  assert.deepEqual(ann.hears('news'), ['honest', 'poison'])
  await world.close()
})

test('papers, of thousands of machines that do not exist, are asked for a few at a time', async () => {
  const { world, ann, eve } = await victim()
  for (let i = 0; i < 300; i++) {
    const forged = Uint8Array.from(eve.craft())
    forged.set(testIdentity(`ghost ${i % 60}`).chain.entries[0]?.keys.ed25519 ?? [], 3)
    eve.say({ kind: 'push', envelope: forged })
  }
  await world.until(() => refused(ann, 'unknown_device') === 300)
  assert.ok(ann.mesh.network().stats.streams < 20)
  assert.equal(entriesOf(ann, 'news'), 0)
  await world.close()
})

// ---- frames

test('frame, longer than its kind allows or of no kind, is a violation before anything is kept', async () => {
  for (const bytes of [
    Uint8Array.of(0x80, 0x80, 0x80, 0x10, 3),
    Uint8Array.of(2, 99, 0),
    Uint8Array.of(0),
    Uint8Array.of(0x80, 0x80, 0x80, 0x80, 1),
    Uint8Array.of(2, 5, 0x80),
  ]) {
    const { world, eve, violations } = await victim()
    eve.raw(bytes)
    await world.until(() => eve.reset.number !== undefined)
    assert.equal(violations[0]?.kind, 'malformed-frame')
    await world.close()
  }
})

test('subscriptions, more than the class has, are counted and forgotten', async () => {
  const world = gossipWorld()
  const names = Array.from({ length: 30 }, (_, i) => `topic-${i}`)
  const ann = await world.gossip('ann', { topics: names })
  const eve = await hostile(world, 'eve', ann, { class: 'isolated', subscribe: names })
  await world.until(() => refused(ann, 'subscription_limit') === 20)
  assert.equal(
    ann.gossip.topics().reduce((sum, { subscribers }) => sum + subscribers, 0),
    10,
  )
  assert.equal(eve.reset.number, undefined)
  await world.close()
})

test('subscription, one handle for two topics, is malformed', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann', { topics: ['a', 'b'] })
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['a'] })
  eve.say({ kind: 'subscribe', topics: [{ handle: 1, topic: topicHash('b') }] })
  await world.until(() => eve.reset.number !== undefined)
  await world.close()
})

test('frames about a topic that was not subscribed to, are refused, and questions are answered with nothing', async () => {
  const { world, ann, eve } = await victim()
  const entry = await world.settle(ann.gossip.publish('news', utf8('x')))
  await world.run(10)
  eve.frames.length = 0
  eve.say({ kind: 'request', nonce: 5, handle: 44, graft: false, ids: [entry.id] })
  eve.say({ kind: 'prune', handle: 44 })
  eve.say({ kind: 'digest', nonce: 6, handle: 44, round: 0, from: START, ranges: [] })
  await world.until(() => refused(ann, 'not_subscribed') === 3)
  await world.until(() => eve.framesOf('entries').length === 1)
  assert.deepEqual(eve.framesOf('entries')[0]?.entries, [])
  await world.close()
})

test('entries that nobody asked for, are not read, and those beside what was asked for are not taken', async () => {
  const { world, ann, eve } = await victim()
  eve.say({ kind: 'entries', nonce: 1, state: 'done', cursor: undefined, entries: [eve.craft()] })
  await world.until(() => refused(ann, 'unsolicited') === 1)
  const asked = eve.craft({ data: utf8('asked') })
  const id = eve.mesh.messages.readRecord(asked).id
  eve.say({ kind: 'announce', handle: 1, urgent: true, ids: [id] })
  await world.until(() => eve.framesOf('request').length === 1)
  const nonce = eve.framesOf('request')[0]?.nonce ?? 0
  eve.say({ kind: 'entries', nonce, state: 'done', cursor: undefined, entries: [eve.craft({ data: utf8('other') }), asked] })
  await world.until(() => ann.hears('news').length === 1)
  await world.run(1_000)
  assert.deepEqual(ann.hears('news'), ['asked'])
  assert.equal(refused(ann, 'unsolicited'), 2)
  await world.close()
})

test('announces of what does not exist, are asked for within limits and leave room for others', async () => {
  const { world, ann, eve } = await victim()
  const random = seededRandom('ghosts')
  for (let frame = 0; frame < 20; frame++) eve.say({ kind: 'announce', handle: 1, urgent: true, ids: Array.from({ length: 1_000 }, () => random.bytes(32)) })
  await world.until(() => refused(ann, 'missing_limit') > 0)
  const bob = await world.gossip('bob')
  await world.settle(bob.gossip.publish('news', utf8('true')))
  await world.link(ann, bob)
  await world.until(() => ann.hears('news').length === 1)
  assert.ok(eve.framesOf('request').every(({ ids }) => ids.length <= 512))
  await world.close()
})

test('digests, a storm of first ones, are answered twice and then ignored', async () => {
  const { world, ann, eve } = await victim()
  for (let i = 0; i < 20; i++) await world.settle(ann.gossip.publish('news', utf8(`${i}`)))
  await world.run(10)
  eve.frames.length = 0
  for (let i = 0; i < 50; i++) {
    eve.say({
      kind: 'digest',
      nonce: 1_000 + i,
      handle: 1,
      round: 0,
      from: START,
      ranges: [{ upper: END, mode: 'fingerprint', count: 3, fingerprint: new Uint8Array(16) }],
    })
  }
  await world.until(() => refused(ann, 'digest_storm') === 48)
  await world.run(100)
  assert.equal(eve.framesOf('digest').filter(({ nonce }) => nonce >= 1_000 && nonce < 2_000).length, 2)
  await world.close()
})

test('digests, a session without end, runs out of its budget', async () => {
  const { world, ann, eve } = await victim()
  for (let i = 0; i < 40; i++) await world.settle(ann.gossip.publish('news', utf8(`${i}`)))
  await world.run(10)
  const liar = { upper: END, mode: 'fingerprint', count: 40, fingerprint: new Uint8Array(16) } as const
  eve.say({ kind: 'digest', nonce: 1_000, handle: 1, round: 0, from: START, ranges: [liar] })
  for (let i = 0; i < 40; i++) eve.say({ kind: 'digest', nonce: 1_000, handle: 1, round: 1, from: START, ranges: [liar] })
  await world.until(() => refused(ann, 'digest_budget') > 10)
  await world.close()
})

test('pull, a cursor of somebody else, is counted and begins at the start', async () => {
  const { world, ann, eve } = await victim()
  for (let i = 0; i < 3; i++) await world.settle(ann.gossip.publish('news', utf8(`${i}`)))
  await world.run(10)
  eve.say({ kind: 'pull', nonce: 9, handle: 1, ...EVERYTHING, maxBytes: 100_000, cursor: seededRandom('cursor').bytes(64) })
  await world.until(() => eve.framesOf('entries').length === 1)
  assert.equal(refused(ann, 'cursor'), 1)
  assert.equal(eve.framesOf('entries')[0]?.entries.length, 3)
  await world.close()
})

test('pull, page by page, gives every entry once within the bytes of the class', async () => {
  const { world, ann, eve } = await victim({ class: 'known' })
  for (let i = 0; i < 20; i++) await world.settle(ann.gossip.publish('news', seededRandom(i).bytes(30_000)))
  await world.run(10)
  const got: string[] = []
  let cursor: Uint8Array | undefined
  for (let page = 1; page < 20; page++) {
    eve.frames.length = 0
    eve.say({ kind: 'pull', nonce: page, handle: 1, ...EVERYTHING, maxBytes: 0xffff_ffff, cursor })
    await world.until(() => eve.framesOf('entries').some(({ state }) => state !== 'more'))
    const frames = eve.framesOf('entries')
    const entries = frames.flatMap((frame) => frame.entries)
    assert.ok(entries.reduce((sum, { length }) => sum + length, 0) <= 256 * 1024)
    got.push(...entries.map((bytes) => toHex(eve.mesh.messages.readRecord(bytes).id)))
    cursor = frames.at(-1)?.cursor
    if (frames.at(-1)?.state === 'done') break
    await world.run(1_000)
  }
  assert.equal(got.length, 20)
  assert.equal(new Set(got).size, 20)
  await world.close()
})

test('requests, more at once than the class has, are told to come later', async () => {
  const { world, ann, eve } = await victim({ class: 'isolated' })
  for (let i = 0; i < 8; i++) await world.settle(ann.gossip.publish('news', seededRandom(i).bytes(30_000)))
  await world.run(10)
  eve.frames.length = 0
  for (let i = 0; i < 30; i++) eve.say({ kind: 'pull', nonce: 100 + i, handle: 1, ...EVERYTHING, maxBytes: 0xffff_ffff, cursor: undefined })
  await world.until(() => eve.framesOf('entries').filter(({ state }) => state !== 'more').length === 30)
  assert.ok(eve.framesOf('entries').filter(({ state }) => state === 'busy').length >= 24)
  assert.ok(refused(ann, 'request_limit') + refused(ann, 'answer_budget') >= 24)
  await world.close()
})

test('answers, to one neighbour, are not sent to another', async () => {
  const { world, ann, eve } = await victim()
  const bob = await hostile(world, 'bob', ann, { class: 'partner', subscribe: ['news'] })
  await world.settle(ann.gossip.publish('news', utf8('x')))
  await world.run(1_000)
  eve.frames.length = 0
  bob.say({ kind: 'pull', nonce: 1, handle: 1, ...EVERYTHING, maxBytes: 100_000, cursor: undefined })
  await world.until(() => bob.framesOf('entries').length === 1)
  await world.run(100)
  assert.deepEqual(eve.framesOf('entries'), [])
  await world.close()
})

test('a neighbour that does not read, costs a bounded queue, and others are served as before', async () => {
  const world = gossipWorld()
  const ann = await world.gossip('ann')
  const bob = await world.gossip('bob')
  await world.link(ann, bob)
  const eve = await hostile(world, 'eve', ann, { class: 'partner', subscribe: ['news'], deaf: true })
  await world.until(() => subscribersOf(ann, 'news') === 2)
  for (let i = 0; i < 60; i++) {
    await world.settle(ann.gossip.publish('news', seededRandom(i).bytes(200_000)))
    await world.run(100)
  }
  await world.until(() => bob.hears('news').length === 60)
  assert.equal(eve.reset.number, undefined)
  assert.ok(ann.mesh.network().stats.bytesOut < 60 * 201_000 + 6 * 2 ** 20)
  await world.close()
})

test('every kind of frame, ten thousand times from a stranger, costs bounded memory and leaves others their gossip', async () => {
  const world = gossipWorld()
  const [ann, bob] = [await world.gossip('ann'), await world.gossip('bob')]
  await world.link(ann, bob)
  const eve = await hostile(world, 'eve', ann, { subscribe: ['news'] })
  await world.until(() => subscribersOf(ann, 'news') === 2)
  for (let i = 0; i < 50; i++) await world.settle(ann.gossip.publish('news', seededRandom(i).bytes(2_000)))
  await world.until(() => entriesOf(bob, 'news') === 50)
  const random = seededRandom('abuse')
  const ids = (): Uint8Array[] => Array.from({ length: 8 }, () => random.bytes(32))
  const pick = (below: number): number => Math.floor(random.unit() * below)
  const frame = (): Frame => {
    const about = { nonce: pick(2 ** 32), handle: pick(3) }
    const bound = { timeMs: pick(2 ** 42), prefix: random.bytes(pick(33)) }
    const frames: readonly Frame[] = [
      { kind: 'subscribe', topics: [{ handle: 2 + pick(1_000_000), topic: random.bytes(32) }] },
      { kind: 'unsubscribe', handles: [2 + pick(1_000)] },
      { kind: 'announce', handle: about.handle, urgent: random.unit() < 0.5, ids: ids() },
      { kind: 'prune', handle: about.handle },
      { kind: 'request', ...about, graft: true, ids: ids() },
      {
        kind: 'digest',
        ...about,
        round: pick(20),
        from: START,
        ranges: [{ upper: END, mode: 'fingerprint', count: pick(2 ** 32), fingerprint: random.bytes(16) }],
      },
      { kind: 'digest', ...about, round: pick(3), from: bound, ranges: [{ upper: END, mode: 'ids', ids: ids() }] },
      { kind: 'pull', ...about, ...EVERYTHING, maxBytes: pick(2 ** 32), cursor: random.bytes(64) },
      { kind: 'entries', nonce: about.nonce, state: 'more', cursor: undefined, entries: [random.bytes(500)] },
      { kind: 'push', envelope: eve.craft({ topic: random.unit() < 0.5 ? 'news' : 'elsewhere', timeMs: pick(2 ** 42) }) },
    ]
    return frames[pick(frames.length)] as Frame
  }
  const before = liveBufferBytes()
  for (let i = 0; i < 10_000; i++) {
    eve.say(frame())
    if (i % 500 === 0) await world.run(1_000)
  }
  await world.run(30_000)
  eve.frames.length = 0
  const grown = liveBufferBytes() - before
  assert.ok(grown < 16 * 2 ** 20, `${grown} bytes`)
  await world.settle(bob.gossip.publish('news', utf8('still here')))
  await world.until(() => ann.hears('news').includes('still here'), 1_000)
  for (const reason of ['unknown_topic', 'not_subscribed', 'unsolicited'] as const) assert.ok(refused(ann, reason) > 0, reason)
  await world.close()
})

test('frames of no use, thousands at once, are looked at as fast as the class may send messages, not as fast as they come', async () => {
  const { world, ann, eve } = await victim({ class: 'known' })
  const said = 5_000
  for (let i = 0; i < said; i++) eve.say({ kind: 'prune', handle: 44 })
  await world.run()
  // Twenty times 20 messages a second and a burst of 10.
  assert.ok(refused(ann, 'not_subscribed') <= 601, `${refused(ann, 'not_subscribed')} were looked at`)
  await world.run(2_000)
  assert.ok(refused(ann, 'not_subscribed') <= 1_500, `${refused(ann, 'not_subscribed')} were looked at in two seconds`)
  await world.until(() => refused(ann, 'not_subscribed') === said)
  assert.equal(eve.reset.number, undefined)
  await world.close()
})

for (const [what, frame] of [
  [
    'pulls with cursors of nobody',
    (i: number): Frame => ({ kind: 'pull', nonce: i, handle: 1, ...EVERYTHING, maxBytes: 0xffff_ffff, cursor: new Uint8Array(64).fill(i) }),
  ],
  ['pulls of everything', (i: number): Frame => ({ kind: 'pull', nonce: i, handle: 1, ...EVERYTHING, maxBytes: 0xffff_ffff, cursor: undefined })],
  ['pulls of nothing', (i: number): Frame => ({ kind: 'pull', nonce: i, handle: 1, from: START, to: START, maxBytes: 1, cursor: undefined })],
  ['requests for what does not exist', (i: number): Frame => ({ kind: 'request', nonce: i, handle: 1, graft: false, ids: [seededRandom(i).bytes(32)] })],
] as const) {
  test(`${what}, thousands at once, are answered as fast as the class may ask`, async () => {
    const { world, ann, eve } = await victim({ class: 'known' })
    for (let i = 0; i < 20; i++) await world.settle(ann.gossip.publish('news', seededRandom(i).bytes(2_000)))
    await world.run(10)
    eve.frames.length = 0
    for (let i = 0; i < 3_000; i++) eve.say(frame(i))
    await world.run(1_000)
    const answers = eve.framesOf('entries').filter(({ state }) => state !== 'more').length
    assert.ok(answers > 0 && answers <= 1_100, `${answers} answers within a second`)
    await world.close()
  })
}

test('announces of what does not exist, without end, are looked at slowly once there is no room for them', async () => {
  const { world, ann, eve } = await victim({ class: 'known' })
  const random = seededRandom('ghosts')
  for (let frame = 0; frame < 100; frame++) eve.say({ kind: 'announce', handle: 1, urgent: true, ids: Array.from({ length: 1_000 }, () => random.bytes(32)) })
  await world.run(500)
  const looked = refused(ann, 'missing_limit')
  assert.ok(looked > 0 && looked < 60_000, `${looked} ids were looked at`)
  await world.close()
})
