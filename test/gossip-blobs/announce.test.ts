import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { equal } from '../../src/core/bytes.ts'
import { manualClock } from '../../src/core/clock.ts'
import { encode } from '../../src/core/codec.ts'
import { isKithError } from '../../src/core/errors.ts'
import { ANNOUNCE_TOPIC, announceTag, type NoticeBoard, notice, REQUEST_TOPIC, requestTag } from '../../src/gossip/blobs/announce.ts'
import { CHUNK_BYTES } from '../../src/gossip/blobs/layout.ts'
import type { GossipEntry } from '../../src/gossip/types.ts'
import type { Did } from '../../src/identity/did.ts'
import { MESSAGE_TYPE } from '../../src/mesh/messages/types.ts'
import { type BlobNode, type BlobWorld, bytesSink, bytesSource, createBlobWorld, settle } from './support.ts'

/** One topic board that all of them read at once. */
class Square {
  readonly entries: { readonly topic: string; readonly data: Uint8Array; readonly author: Did }[] = []
  readonly #readers: { readonly topic: string; readonly listener: (entry: GossipEntry) => void }[] = []

  of(author: () => Did): NoticeBoard {
    return {
      publish: async (topic, data) => this.say(author(), topic, data),
      listen: (topic, listener) => {
        const reader = { topic, listener }
        this.#readers.push(reader)
        return () => this.#readers.splice(this.#readers.indexOf(reader), 1)
      },
    }
  }

  say(author: Did, topic: string, data: Uint8Array, type: number = MESSAGE_TYPE.blob): GossipEntry {
    this.entries.push({ topic, data, author })
    const entry = { author, topic, data, type } as GossipEntry
    for (const reader of [...this.#readers]) if (reader.topic === topic) reader.listener(entry)
    return entry
  }
}

const SIZE = 3 * CHUNK_BYTES
const clock = manualClock()
let world: BlobWorld
let square: Square
beforeEach(() => {
  world = createBlobWorld()
  square = new Square()
})
afterEach(async () => {
  await world.close()
})

function member(name: string): BlobNode {
  const node: BlobNode = world.node(name, { clock, gossip: square.of(() => node.did) })
  return node
}

test('a blob for a topic, is found by its readers through an announcement', async () => {
  const [alice, bob] = [member('alice'), member('bob')]
  await world.link(alice, bob)
  alice.readers.set('team', [bob.did])
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { topic: 'team' }, { announce: true })
  const sink = bytesSink(SIZE)
  await settle(clock, bob.blobs.fetch(manifest, sink, { providers: [], look: true }))
  assert.deepEqual(sink.content, new Uint8Array(source.content))
})

test('a blob that was not announced, is found by asking; whoever may not have it gets no answer', async () => {
  const [alice, bob, mallory] = [member('alice'), member('bob'), member('mallory')]
  await Promise.all([world.link(alice, bob), world.link(alice, mallory)])
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { peers: [bob.did] })
  await assert.rejects(settle(clock, mallory.blobs.fetch(manifest, bytesSink(SIZE), { providers: [], look: true })), (error) =>
    isKithError(error, 'BLOB_UNAVAILABLE'),
  )
  assert.ok(!square.entries.some(({ topic }) => topic === ANNOUNCE_TOPIC), 'nobody answered')
  const sink = bytesSink(SIZE)
  await settle(clock, bob.blobs.fetch(manifest, sink, { providers: [], look: true }))
  assert.deepEqual(sink.content, new Uint8Array(source.content))
})

test('what stands on the topics, is neither the root nor the same twice', async () => {
  const [alice, carol, bob] = [member('alice'), member('carol'), member('bob')]
  await world.link(alice, bob)
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await alice.blobs.describe(source)
  for (const node of [alice, carol]) node.blobs.offer(manifest, source, { peers: [bob.did] }, { announce: true })
  await settle(clock, bob.blobs.fetch(manifest, bytesSink(SIZE), { providers: [], look: true }))
  const said = square.entries.map(({ data }) => Buffer.from(data).toString('hex'))
  assert.equal(said.length, 3)
  assert.equal(new Set(said.map((data) => data.slice(2, 66))).size, 3)
  const root = Buffer.from(manifest.root).toString('hex')
  assert.ok(said.every((data) => !data.includes(root)))
})

test('the same blob asked for again and again, is announced once in a while', async () => {
  const [alice, bob] = [member('alice'), member('bob')]
  const source = bytesSource(randomBytes(SIZE))
  const manifest = await alice.blobs.describe(source)
  alice.blobs.offer(manifest, source, { peers: [bob.did] })
  const ask = encode(notice, { tag: requestTag(manifest.root, bob.did), expiresMs: clock.now() + 1_000 })
  const announced = (): number => square.entries.filter(({ topic }) => topic === ANNOUNCE_TOPIC).length
  for (let i = 0; i < 50; i++) square.say(bob.did, REQUEST_TOPIC, ask)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(announced(), 1)
})

test('an announcement by somebody without a link, is left alone', async () => {
  const [alice, bob] = [member('alice'), member('bob')]
  const root = randomBytes(32)
  square.say(alice.did, ANNOUNCE_TOPIC, encode(notice, { tag: announceTag(root, alice.did), expiresMs: clock.now() + 60_000 }))
  await assert.rejects(settle(clock, bob.blobs.fetch({ root, size: SIZE }, bytesSink(SIZE), { providers: [], look: true })), (error) =>
    isKithError(error, 'BLOB_UNAVAILABLE'),
  )
  assert.equal(bob.opened.size, 0)
})

for (const [what, data, type] of [
  ['of random bytes', randomBytes(41), MESSAGE_TYPE.blob],
  ['that is empty', new Uint8Array(0), MESSAGE_TYPE.blob],
  ['that has run out', encode(notice, { tag: randomBytes(32), expiresMs: clock.now() }), MESSAGE_TYPE.blob],
  ['that would hold for a week', encode(notice, { tag: randomBytes(32), expiresMs: clock.now() + 7 * 86_400_000 }), MESSAGE_TYPE.blob],
  ['of another type', encode(notice, { tag: randomBytes(32), expiresMs: clock.now() + 1_000 }), MESSAGE_TYPE.gossip],
] as const) {
  test(`a notice ${what}, is ignored and held against nobody`, () => {
    const [alice, bob] = [member('alice'), member('bob')]
    square.say(alice.did, ANNOUNCE_TOPIC, data, type)
    square.say(alice.did, REQUEST_TOPIC, data, type)
    assert.deepEqual(bob.violations, [])
  })
}

test('tags of different blobs or authors, differ', () => {
  const dids = ['a', 'b', 'c'].map((name) => world.node(name).did)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.nat(2), fc.nat(2), (one, two, i, j) => {
      const same = equal(one, two) && i === j
      assert.equal(equal(announceTag(one, dids[i] as Did), announceTag(two, dids[j] as Did)), same)
      assert.ok(!equal(announceTag(one, dids[i] as Did), requestTag(one, dids[i] as Did)))
    }),
  )
})
