import assert from 'node:assert/strict'
import { test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { manualClock } from '../../src/core/clock.ts'
import { bytes, bytesN, constant, encode, list, struct, u8, uint53, varint } from '../../src/core/codec.ts'
import { isKithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { HOLD_ENTRIES, HOLD_MS, HoldBack } from '../../src/gossip/causal.ts'
import { CURSOR_MS, Cursors } from '../../src/gossip/cursor.ts'
import { encodePayload, MAX_DATA_BYTES, readPayload } from '../../src/gossip/entry.ts'
import type { Neighbour } from '../../src/gossip/neighbour.ts'
import { fanOut } from '../../src/gossip/repair.ts'
import { placesOf, SeenFilter } from '../../src/gossip/seen-filter.ts'
import type { Arrival, Topic } from '../../src/gossip/topic.ts'
import { topicRules } from '../../src/gossip/topic.ts'
import { encodeTopic, restoreTopic } from '../../src/gossip/topic-codec.ts'
import { atOrBehind, idKey } from '../../src/gossip/topic-index.ts'
import type { TopicAccess } from '../../src/gossip/types.ts'
import { topicHash } from '../../src/gossip/wire.ts'
import type { Did } from '../../src/identity/did.ts'
import { testIdentity } from '../mesh/fixtures.ts'

// ---- payload

test('payload, any data and references, is read back', () => {
  const reference = fc.record({ timeMs: fc.nat(), id: fc.uint8Array({ minLength: 32, maxLength: 32 }) }, { noNullPrototype: true })
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 4_000 }), fc.array(reference, { maxLength: 8 }), fc.boolean(), (data, references, repeat) => {
      const given = repeat ? Uint8Array.from(Buffer.concat([data, data, data, data])) : data
      const read = readPayload(encodePayload({ references, data: given }))
      assert.deepEqual(read.inflate(), given)
      assert.equal(read.length, given.length)
      assert.deepEqual(
        read.references.map(({ timeMs, id }) => ({ timeMs, id: Uint8Array.from(id) })),
        references,
      )
    }),
  )
})

test('payload, a kilobyte that compresses, is compressed; noise and small data are not', () => {
  const large = new Uint8Array(100_000)
  assert.ok(encodePayload({ references: [], data: large }).length < 200)
  const noise = seededRandom('noise').bytes(2_000)
  assert.ok(encodePayload({ references: [], data: noise }).length > 2_000)
  assert.ok(encodePayload({ references: [], data: new Uint8Array(1_023) }).length > 1_023)
})

/** A payload with whatever a liar says about its length. */
function lying(length: number, data: Uint8Array): Uint8Array {
  const codec = struct({
    _version: constant(1),
    form: u8,
    length: varint,
    references: list(struct({ timeMs: uint53, id: bytesN(32) }), 8),
    data: bytes(MAX_DATA_BYTES),
  })
  return encode(codec, { _version: undefined, form: 1, length, references: [], data })
}

test('payload, a compression bomb, is refused without being inflated', () => {
  const bomb = zstdCompressSync(Buffer.alloc(64 * 2 ** 20))
  assert.ok(bomb.length < 10_000)
  for (const length of [20_000, MAX_DATA_BYTES]) {
    const before = process.memoryUsage().arrayBuffers
    assert.throws(
      () => readPayload(lying(length, bomb)).inflate(),
      (error) => isKithError(error, 'WIRE_MALFORMED'),
    )
    assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 2 ** 20)
  }
  assert.throws(
    () => readPayload(lying(64 * 2 ** 20, bomb)),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
})

test('payload, fewer bytes inside than told, or no zstd at all, is refused', () => {
  const packed = zstdCompressSync(Buffer.alloc(5_000))
  assert.throws(
    () => readPayload(lying(5_001, packed)).inflate(),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
  assert.throws(
    () => readPayload(lying(5_000, seededRandom('x').bytes(100))).inflate(),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
  assert.throws(
    () => readPayload(lying(packed.length, packed)),
    (error) => isKithError(error, 'WIRE_MALFORMED'),
  )
})

// ---- filter

test('filter, ids, places are those of double hashing over integers of any size', () => {
  for (let i = 0; i < 200; i++) {
    const id = seededRandom(i).bytes(32)
    const view = Buffer.from(id)
    const [h1, h2] = [view.readBigUInt64LE(0), view.readBigUInt64LE(8) | 1n]
    assert.deepEqual(
      placesOf(id),
      Array.from({ length: 7 }, (_, k) => Number((h1 + BigInt(k) * h2) % 95_851n)),
    )
  }
})

test('filter, the last 8,000 ids, are all known, and few others', () => {
  const filter = new SeenFilter()
  const random = seededRandom('filter')
  const added: Uint8Array[] = []
  for (let i = 0; i < 30_000; i++) {
    const id = random.bytes(32)
    filter.add(id)
    added.push(id)
  }
  assert.equal(filter.rotations, 3)
  for (const id of added.slice(-8_000)) assert.ok(filter.perhaps(id))
  let wrong = 0
  for (let i = 0; i < 10_000; i++) if (filter.perhaps(random.bytes(32))) wrong++
  assert.ok(wrong < 250, `${wrong} of 10,000`)
})

// ---- hold-back

function holding(causal = true) {
  const clock = manualClock()
  const delivered: string[] = []
  const gaps: string[] = []
  const kept = new Set<string>()
  const missing: string[] = []
  const holdBack = new HoldBack(causal, {
    clock,
    known: ({ id }) => kept.has(idKey(id)),
    missing: ({ id }) => missing.push(idKey(id)),
    deliver: (arrival, gap) => (gap ? gaps : delivered).push(arrival.key.trimEnd()),
    forced: () => undefined,
  })
  const id = (name: string): Uint8Array => Uint8Array.from(Buffer.from(name.padEnd(32)))
  const offer = (name: string, ...references: string[]): void => {
    const arrival: Arrival = {
      key: idKey(id(name)),
      id: id(name),
      timeMs: 1,
      references: references.map((reference) => ({ timeMs: 1, id: id(reference) })),
      size: 100,
      entry: () => undefined,
    }
    kept.add(arrival.key)
    holdBack.offer(arrival)
  }
  return { clock, delivered, gaps, missing, holdBack, offer }
}

test('hold-back, an entry before what it refers to, waits for it', () => {
  const { offer, delivered, missing, holdBack } = holding()
  offer('c', 'a', 'b')
  offer('d', 'c')
  offer('a')
  assert.deepEqual(delivered, ['a'])
  offer('b', 'a')
  assert.deepEqual(delivered, ['a', 'b', 'c', 'd'])
  assert.equal(missing.length, 2)
  assert.equal(holdBack.size, 0)
})

test('hold-back, any order of arrival, delivers each once and nothing before what it refers to', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(100), { maxLength: 3 }), { minLength: 1, maxLength: 40 }), fc.infiniteStream(fc.nat(1_000)), (graph, random) => {
      const { offer, delivered } = holding()
      const entries = graph.map((references, i) => ({ name: `${i}`, references: [...new Set(references.filter((j) => j < i).map(String))] }))
      const shuffled = entries.map((entry) => ({ entry, at: random.next().value })).sort((a, b) => a.at - b.at)
      for (const { entry } of shuffled) offer(entry.name, ...entry.references)
      assert.equal(delivered.length, entries.length)
      const place = new Map(delivered.map((name, i) => [name, i]))
      for (const { name, references } of entries) for (const reference of references) assert.ok((place.get(reference) as number) < (place.get(name) as number))
    }),
  )
})

test('hold-back, a reference to nothing, holds an entry up ten seconds and no longer', async () => {
  const { offer, delivered, gaps, clock } = holding()
  offer('b', 'nothing')
  offer('c', 'b')
  clock.advance(HOLD_MS - 1)
  assert.deepEqual(delivered, [])
  clock.advance(1)
  assert.deepEqual(gaps, ['b'])
  assert.deepEqual(delivered, ['c'])
  assert.equal(clock.pending, 0)
})

test('hold-back, more than it holds, delivers the oldest marked', () => {
  const { offer, gaps, holdBack } = holding()
  for (let i = 0; i <= HOLD_ENTRIES; i++) offer(`e${i}`, 'nothing')
  assert.deepEqual(gaps, ['e0'])
  assert.equal(holdBack.size, HOLD_ENTRIES)
  holdBack.close()
})

test('hold-back, turned off, delivers at once', () => {
  const { offer, delivered } = holding(false)
  offer('b', 'nothing')
  assert.deepEqual(delivered, ['b'])
})

test('hold-back, two entries that wait for one another, do not wait for ever', () => {
  const { offer, gaps, delivered, clock } = holding()
  offer('a', 'b')
  offer('b', 'a')
  clock.advance(HOLD_MS)
  assert.deepEqual([...gaps, ...delivered].sort(), ['a', 'b'])
})

// ---- cursors

test('cursor, another topic, machine, process, a changed byte or after five minutes, is refused', () => {
  const clock = manualClock()
  const cursors = new Cursors(clock, seededRandom('cursors'))
  const topic = { hash: topicHash('a') } as Topic
  const neighbour = { device: new Uint8Array(32).fill(1) } as unknown as Neighbour
  const last = { timeMs: 77, id: new Uint8Array(32).fill(0xff, 20) }
  const cursor = cursors.make(last, topic, neighbour)
  const bound = cursors.read(cursor, topic, neighbour)
  assert.ok(bound !== undefined)
  assert.equal(atOrBehind(last, bound), false)
  const next = Uint8Array.from(last.id)
  next[19] = 1
  assert.equal(atOrBehind({ timeMs: 77, id: next }, bound), true)
  assert.equal(cursors.read(cursor, { hash: topicHash('b') } as Topic, neighbour), undefined)
  assert.equal(cursors.read(cursor, topic, { device: new Uint8Array(32).fill(2) } as unknown as Neighbour), undefined)
  assert.equal(new Cursors(clock, seededRandom('others')).read(cursor, topic, neighbour), undefined)
  for (let i = 0; i < cursor.length; i++) {
    const changed = Uint8Array.from(cursor)
    changed[i] = (changed[i] as number) ^ 1
    assert.equal(cursors.read(changed, topic, neighbour), undefined)
  }
  clock.advance(CURSOR_MS + 1)
  assert.equal(cursors.read(cursor, topic, neighbour), undefined)
})

// ---- topics

test('topic, stored and restored, has the same rules', () => {
  const did = testIdentity('someone').chain.did
  for (const access of [{ kind: 'open' }, { kind: 'score', min: 4_000 }, { kind: 'list', members: [did] }] satisfies TopicAccess[]) {
    const rules = topicRules({ name: 'a:b', access, suite: 'hybrid', causal: false, maxEntries: 5, maxBytes: 100_000, retainMs: 5_000 })
    assert.deepEqual(restoreTopic('a:b', encodeTopic(rules)), { rules, broken: false })
  }
})

test('topic, a definition that cannot be read, admits nobody', () => {
  const open = encodeTopic(topicRules({ name: 'a', access: { kind: 'open' } }))
  const unknownKind = Uint8Array.from(open)
  unknownKind[1] = 9
  const badDid = encodeTopic({ ...topicRules({ name: 'a', access: { kind: 'open' } }), access: { kind: 'list', members: ['did:icn:nobody' as Did] } })
  for (const stored of [unknownKind, badDid, open.subarray(1), new Uint8Array(0), seededRandom('x').bytes(40)]) {
    const { rules, broken } = restoreTopic('a', stored)
    assert.equal(broken, true)
    assert.deepEqual(rules.access, { kind: 'list', members: [] })
  }
})

test('topic, options out of range, are the mistake of the caller', () => {
  const open = { kind: 'open' } as const
  for (const name of ['', ' ', 'a b', ':a', 'x'.repeat(129), 'ä']) assert.throws(() => topicRules({ name, access: open }), TypeError)
  assert.throws(() => topicRules({ name: 'a', access: { kind: 'score', min: 10_001 } }), TypeError)
  assert.throws(() => topicRules({ name: 'a', access: open, maxEntries: 0 }), TypeError)
  assert.throws(() => topicRules({ name: 'a', access: open, retainMs: 1.5 }), TypeError)
})

test('fan-out, neighbours, is that of the reference', () => {
  assert.deepEqual([0, 1, 3, 4, 5, 8, 50, 200, 100_000].map(fanOut), [0, 1, 3, 3, 4, 4, 7, 9, 10])
})
