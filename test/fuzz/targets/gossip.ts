import assert from 'node:assert/strict'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { Cursors } from '../../../src/gossip/cursor.ts'
import { encodePayload, MAX_DATA_BYTES, readPayload } from '../../../src/gossip/entry.ts'
import { FrameReader } from '../../../src/gossip/frame-reader.ts'
import type { Neighbour } from '../../../src/gossip/neighbour.ts'
import { answerDigest, firstDigest } from '../../../src/gossip/reconcile.ts'
import { type Topic, topicRules } from '../../../src/gossip/topic.ts'
import { encodeTopic, restoreTopic } from '../../../src/gossip/topic-codec.ts'
import { compareBounds, END, START, TopicIndex } from '../../../src/gossip/topic-index.ts'
import { decodeFrame, encodeFrame, type Frame, topicHash } from '../../../src/gossip/wire.ts'
import { itemOf } from '../../gossip/items.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const id = (n: number): Uint8Array => seededRandom(`fuzz ${n}`).bytes(32)
const index = new TopicIndex()
for (let i = 0; i < 500; i++) index.add(itemOf({ id: id(i), timeMs: Math.floor(i / 4) }))

const frames: readonly Frame[] = [
  { kind: 'subscribe', topics: [{ handle: 1, topic: topicHash('news') }] },
  { kind: 'unsubscribe', handles: [1, 2, 300] },
  { kind: 'push', envelope: id(1) },
  { kind: 'announce', handle: 1, urgent: false, ids: [id(1), id(2)] },
  { kind: 'prune', handle: 1 },
  { kind: 'request', nonce: 7, handle: 1, graft: true, ids: [id(1)] },
  { kind: 'digest', nonce: 7, handle: 1, round: 0, ...firstDigest(index, START) },
  {
    kind: 'digest',
    nonce: 7,
    handle: 1,
    round: 1,
    from: START,
    ranges: [
      { upper: { timeMs: 20, prefix: id(3).slice(0, 2) }, mode: 'ids', ids: [id(3)] },
      { upper: { timeMs: 60, prefix: new Uint8Array(0) }, mode: 'skip' },
      { upper: END, mode: 'fingerprint', count: 900, fingerprint: id(1).slice(0, 16) },
    ],
  },
  { kind: 'pull', nonce: 7, handle: 1, from: START, to: END, maxBytes: 65_536, cursor: id(1).length === 32 ? new Uint8Array(64) : undefined },
  { kind: 'entries', nonce: 7, state: 'cut', cursor: new Uint8Array(64), entries: [id(1), id(2)] },
]
const encoded = frames.map(encodeFrame)

const frame: FuzzTarget = {
  name: 'gossip-frame',
  seeds: encoded.map((bytes) => bytes.subarray(bytes.length > 128 ? 2 : 1)),
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const read = decodeFrame(input)
    const again = encodeFrame(read)
    assert.deepEqual(Buffer.from(again.subarray(again.length - input.length)), Buffer.from(input))
    return read.kind
  },
}

/** `u8 step | bytes of the opener`: cut into frames however they come, credit never more than was taken. */
const reader: FuzzTarget = {
  name: 'gossip-reader',
  seeds: [Buffer.concat([Uint8Array.of(7), ...encoded]), ...encoded.map((bytes) => Buffer.concat([Uint8Array.of(1), bytes]))],
  codes: [],
  run(input) {
    const stream = new FakeStream()
    let kinds = ''
    let outcome = ''
    new FrameReader(stream, {
      wants: (kind) => kind !== 3,
      frame: (bytes) => {
        kinds += bytes[0]
      },
      fault: (error) => {
        outcome = String(error.details.reason)
        stream.reset(error.number)
      },
      ready: () => true,
    })
    stream.feed(input.subarray(1), Math.max(1, input[0] ?? 1))
    return `${new Set(kinds).size} ${outcome}`
  },
}

const payload: FuzzTarget = {
  name: 'gossip-payload',
  seeds: [
    encodePayload({ references: [], data: Buffer.from('hello') }),
    encodePayload({ references: [{ timeMs: 5, id: id(1) }], data: new Uint8Array(4_000) }),
    encodePayload({ references: Array.from({ length: 8 }, (_, i) => ({ timeMs: i, id: id(i) })), data: Buffer.from('text '.repeat(400)) }),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const read = readPayload(input)
    const data = read.inflate()
    assert.equal(data.length, read.length)
    assert.ok(data.length <= MAX_DATA_BYTES && read.references.length <= 8)
    return `${read.references.length} ${data.length > 1_000}`
  },
}

/** The body of a digest against 500 entries: answers rise, are bounded, and can be asked again. */
const digest: FuzzTarget = {
  name: 'gossip-digest',
  seeds: frames.filter(({ kind }) => kind === 'digest').map((one) => encodeFrame(one).subarray(1)),
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const read = decodeFrame(Buffer.concat([Uint8Array.of(7), input.subarray(1)]))
    assert.ok(read.kind === 'digest')
    const outcome = answerDigest(index, read, START)
    if (outcome === undefined) return 'refused'
    const { answers, wanted, lacking, pulls } = outcome
    assert.ok(lacking.length <= 256 * Math.max(1, read.ranges.length))
    for (const answer of answers) {
      assert.ok(encodeFrame({ ...read, ...answer }).length <= 128 * 1024)
      let lower = answer.from
      for (const { upper } of answer.ranges) {
        assert.ok(compareBounds(upper, lower) > 0)
        lower = upper
      }
      answerDigest(index, answer, START)
    }
    return [answers, wanted, lacking, pulls].map(({ length }) => Math.min(length, 2)).join(' ')
  },
}

const topic: FuzzTarget = {
  name: 'gossip-topic',
  seeds: [
    encodeTopic(topicRules({ name: 'a', access: { kind: 'open' } })),
    encodeTopic(topicRules({ name: 'a', access: { kind: 'score', min: 4_000 }, suite: 'hybrid' })),
    encodeTopic(topicRules({ name: 'a', access: { kind: 'list', members: [] } })),
  ],
  codes: [],
  run(input) {
    const { rules, broken } = restoreTopic('a', input)
    if (broken) assert.deepEqual(rules.access, { kind: 'list', members: [] })
    else assert.deepEqual(restoreTopic('a', encodeTopic(rules)).rules, rules)
    return broken ? 'broken' : rules.access.kind
  },
}

const cursors = new Cursors(manualClock(), seededRandom('cursors'))
const news = { hash: topicHash('news') } as Topic
const neighbour = { device: id(1) } as unknown as Neighbour
const own = cursors.make({ timeMs: 5, id: id(2) }, news, neighbour)

const cursor: FuzzTarget = {
  name: 'gossip-cursor',
  seeds: [own],
  codes: [],
  run(input) {
    const bound = cursors.read(input, news, neighbour)
    assert.equal(bound !== undefined, Buffer.compare(input, own) === 0)
    return bound !== undefined
  },
}

export const gossipTargets: readonly FuzzTarget[] = [frame, reader, payload, digest, topic, cursor]
