import assert from 'node:assert/strict'
import { test } from 'node:test'
import { concat } from '../../src/core/bytes.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { didPublicKey } from '../../src/identity/did.ts'
import { type EnvelopeFields, signEnvelope } from '../../src/mesh/messages/envelope.ts'
import type { LiveMessage, RecordMessage, StoredCheck, VerifiedMessage } from '../../src/mesh/messages/types.ts'
import type { Arrival } from '../../src/mesh/messages/verifier.ts'
import { codeOf, envelopeOf, fieldsOf, knownTo, linkTogether, NOW, outcome, type Station, station } from './messages-support.ts'

const DAY = 86_400_000
const SUITES = { carrier: undefined, suite: 'ed25519', protocol: 'test' } as const

type Changes = Parameters<typeof envelopeOf>[3]

/** Ann writes to Ben; Cem carries or attacks. */
async function trio(
  options: { mldsa?: boolean; capacity?: number } = {},
): Promise<{ ann: Station; ben: Station; cem: Station; live: (bytes: Uint8Array) => Promise<LiveMessage> }> {
  const ann = await station('ann', options)
  const ben = await station('ben', options)
  const cem = await station('cem')
  await knownTo(ben, ann, cem)
  const session = linkTogether(ann, ben)
  const live = (bytes: Uint8Array): Promise<LiveMessage> =>
    outcome(() => ben.verifier.live(ben.verifier.decode(bytes, 'live'), { ...SUITES, carrier: { peer: ann.did, device: ann.device }, session }))
  return { ann, ben, cem, live }
}

function stored(at: Station, bytes: Uint8Array, arrival: Arrival = SUITES): Promise<StoredCheck> {
  return outcome(() => at.verifier.stored(bytes, arrival))
}

function record(at: Station, bytes: Uint8Array, arrival: Arrival = SUITES): Promise<RecordMessage> {
  return outcome(() => at.verifier.record(bytes, 'test:topic', arrival))
}

/** What a verified message has gone through and then did: its marks written. */
async function accept(at: Station, bytes: Uint8Array): Promise<void> {
  const check = await stored(at, bytes)
  await at.store.batch(check.mark)
  check.commit()
}

test('verified message, made up from plain data, does not type-check', () => {
  const forged = { class: 'live', id: new Uint8Array(32), session: new Uint8Array(16), seq: 1 }
  // @ts-expect-error only the verifier makes one
  const message: LiveMessage = forged
  // @ts-expect-error nor of any other class
  const other: VerifiedMessage = { ...forged, class: 'record', epoch: 1 }
  assert.ok(message !== undefined && other !== undefined)
})

test('live message, valid, is delivered as what it says', async () => {
  const { ann, ben, live } = await trio()
  const message = await live(envelopeOf(ann, ben, 'live'))
  assert.equal(message.class, 'live')
  assert.equal(message.from, ann.did)
  assert.deepEqual(message.device, ann.device)
  assert.deepEqual(message.to, { kind: 'did', did: ben.did })
  assert.equal(message.id.length, 32)
})

test('live message, said in the name of somebody else, does not verify, and its carrier is charged', async () => {
  // The original did not sign `from`: any DID could be put in front of a signed message.
  const { ann, ben, cem } = await trio()
  const session = linkTogether(cem, ben, { id: new Uint8Array(16).fill(9) })
  const { linkSigner } = cem.node.device
  const forged = signEnvelope(fieldsOf(ann, ben, 'live', { session: session.id }), { ed25519: linkSigner, mldsa: undefined })
  const carrier = { peer: cem.did, device: cem.device }
  const run = (): Promise<unknown> => outcome(() => ben.verifier.live(ben.verifier.decode(forged, 'live'), { ...SUITES, carrier, session }))
  assert.equal(await codeOf(run), 'SIGNATURE_INVALID')
  assert.equal(ben.conduct.reports.length, 1)
  assert.deepEqual(ben.conduct.reports[0]?.peer, cem.did)
  assert.equal(ben.conduct.reports[0]?.kind, 'invalid-signature')
  assert.deepEqual(ben.conduct.reports[0]?.evidence, forged)
})

test('messages that carry a DID that is not the device’s, are of an unknown device', async () => {
  const { ann, ben, cem } = await trio()
  const { linkSigner } = cem.node.device
  const bytes = signEnvelope({ ...fieldsOf(cem, ben, 'record'), from: didPublicKey(ann.did) } as EnvelopeFields, { ed25519: linkSigner, mldsa: undefined })
  assert.equal(await codeOf(() => record(ben, bytes)), 'DEVICE_UNKNOWN')
})

test('messages to somebody else, are refused', async () => {
  // The original did not sign `to` either: a message to one peer could be given to another.
  const { ann, ben, cem, live } = await trio()
  assert.equal(await codeOf(() => live(envelopeOf(ann, cem, 'live'))), 'NOT_FOR_US')
  assert.equal(await codeOf(() => stored(ben, envelopeOf(ann, cem, 'stored'))), 'NOT_FOR_US')
  assert.equal(await codeOf(() => record(ben, envelopeOf(ann, ben, 'record', { topic: 'other:topic' }))), 'NOT_FOR_US')
  assert.equal(ben.conduct.reports.length, 0)
})

test('message of one class, where another is expected, is malformed', async () => {
  const { ann, ben, live } = await trio()
  assert.equal(await codeOf(() => live(envelopeOf(ann, ben, 'stored'))), 'WIRE_MALFORMED')
  assert.equal(await codeOf(() => stored(ben, envelopeOf(ann, ben, 'record'))), 'WIRE_MALFORMED')
  assert.equal(await codeOf(() => record(ben, envelopeOf(ann, ben, 'live'))), 'WIRE_MALFORMED')
})

test('10,000 forged messages naming a victim, cost the victim nothing and are charged to their carrier', async () => {
  const { ann, ben, cem, live } = await trio()
  const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live', { session: new Uint8Array(16).fill(9) }))
  const session = linkTogether(cem, ben, { id: new Uint8Array(16).fill(9) })
  const carrier = { peer: cem.did, device: cem.device }
  const before = ben.rates.left(ann.did)
  for (let i = 0; i < 10_000; i++) {
    new DataView(bytes.buffer).setUint32(bytes.length - 64, i)
    const envelope = ben.verifier.decode(bytes, 'live')
    assert.throws(() => ben.verifier.live(envelope, { ...SUITES, carrier, session }), { code: 'SIGNATURE_INVALID' })
  }
  assert.equal(ben.rates.left(ann.did), before)
  assert.equal(ben.conduct.reports.length, 10_000)
  assert.ok(ben.conduct.reports.every(({ peer }) => peer === cem.did))
  assert.equal(ben.tally.counters().refused.SIGNATURE_INVALID, 10_000)
  await live(envelopeOf(ann, ben, 'live'))
})

const LIVE: readonly (readonly [string, Changes, string])[] = [
  ['number 0', { seq: 0 }, 'SEQUENCE_INVALID'],
  ['number 1', { seq: 1 }, 'none'],
  ['number 65,536', { seq: 65_536 }, 'none'],
  ['number 65,537, too far ahead of nothing', { seq: 65_537 }, 'SEQUENCE_INVALID'],
  ['the last number there is', { seq: Number.MAX_SAFE_INTEGER }, 'SEQUENCE_INVALID'],
  ['5 minutes old', { timeMs: NOW - 300_000 }, 'none'],
  ['older than 5 minutes', { timeMs: NOW - 300_001 }, 'MESSAGE_STALE'],
  ['5 minutes ahead', { timeMs: NOW + 300_000 }, 'none'],
  ['more than 5 minutes ahead', { timeMs: NOW + 300_001 }, 'MESSAGE_STALE'],
  ['of the year 287396', { timeMs: Number.MAX_SAFE_INTEGER }, 'BINDING_EXPIRED'],
  ['of 1970', { timeMs: 0 }, 'MESSAGE_STALE'],
  ['another session', { session: new Uint8Array(16).fill(8) }, 'SESSION_UNKNOWN'],
]
for (const [name, changes, code] of LIVE) {
  test(`live message, ${name}, ${code === 'none' ? 'is accepted' : code}`, async () => {
    const { ann, ben, live } = await trio()
    assert.equal(await codeOf(() => live(envelopeOf(ann, ben, 'live', changes))), code)
    assert.equal(ben.conduct.reports.length, 0)
  })
}

test('live message, number of 2^64 - 1 or 2^53, is malformed and burns nothing', async () => {
  // One such number shut the original's sender out for good.
  const { ann, ben, live } = await trio()
  for (const high of [0xffff_ffff, 0x0020_0000]) {
    const bytes = Uint8Array.from(envelopeOf(ann, ben, 'live'))
    new DataView(bytes.buffer).setUint32(117, high)
    assert.equal(await codeOf(() => live(bytes)), 'WIRE_MALFORMED')
  }
  await live(envelopeOf(ann, ben, 'live'))
})

test('live message, date by the sender’s clock as the greeting showed it, decides', async () => {
  const { ann, ben } = await trio()
  const session = linkTogether(ann, ben, { id: new Uint8Array(16).fill(3), offsetMs: 3_600_000 })
  const run = (timeMs: number, seq: number): Promise<unknown> => {
    const bytes = envelopeOf(ann, ben, 'live', { session: session.id, timeMs, seq })
    return outcome(() => ben.verifier.live(ben.verifier.decode(bytes, 'live'), { ...SUITES, session }))
  }
  assert.equal(await codeOf(() => run(NOW + 3_600_000, 1)), 'none')
  assert.equal(await codeOf(() => run(NOW, 2)), 'MESSAGE_STALE')
})

test('live message, seen before, is refused and nobody is charged for it', async () => {
  const { ann, ben, live } = await trio()
  const bytes = envelopeOf(ann, ben, 'live')
  await live(bytes)
  for (let i = 0; i < 100; i++) assert.equal(await codeOf(() => live(bytes)), 'REPLAYED')
  assert.equal(ben.conduct.reports.length, 0)
  assert.equal(ben.tally.counters().refused.REPLAYED, 100)
})

test('live message, seen before, is still known after 9,000 others', async () => {
  // The original's filter was reset at 8,000 and forgot.
  const { ann, ben, live } = await trio()
  ben.limits = { ...ben.limits, burst: 1_000_000 }
  const first = envelopeOf(ann, ben, 'live', { seq: 8_500 })
  await live(first)
  for (let seq = 8_501; seq <= 9_500; seq++) await live(envelopeOf(ann, ben, 'live', { seq }))
  assert.equal(await codeOf(() => live(first)), 'REPLAYED')
  for (let seq = 9_501; seq <= 9_600; seq++) await live(envelopeOf(ann, ben, 'live', { seq }))
  assert.equal(await codeOf(() => live(first)), 'MESSAGE_STALE')
})

test('live message, of a session that ended less than a minute ago, is taken, later ones not', async () => {
  const { ann, ben, cem } = await trio()
  const old = linkTogether(ann, ben, { id: new Uint8Array(16).fill(4) })
  const session = linkTogether(ann, ben, { id: new Uint8Array(16).fill(5) })
  const run = (seq: number): Promise<unknown> => {
    const bytes = envelopeOf(ann, ben, 'live', { session: old.id, seq, timeMs: ben.clock.now() })
    return outcome(() => ben.verifier.live(ben.verifier.decode(bytes, 'live'), { ...SUITES, session }))
  }
  await run(1)
  ben.sessions.end(old)
  ben.clock.advance(59_999)
  await run(2)
  assert.equal(await codeOf(() => run(2)), 'REPLAYED')
  ben.clock.advance(1)
  assert.equal(await codeOf(() => run(3)), 'SESSION_UNKNOWN')
  // Another machine's session is no way in either.
  const other = linkTogether(cem, ben, { id: new Uint8Array(16).fill(6) })
  const bytes = envelopeOf(ann, ben, 'live', { session: other.id, timeMs: ben.clock.now() })
  assert.equal(await codeOf(() => outcome(() => ben.verifier.live(ben.verifier.decode(bytes, 'live'), { ...SUITES, session: other }))), 'SESSION_UNKNOWN')
})

test('live message, refused for its rate, is not marked and may come again', async () => {
  const { ann, ben, live } = await trio()
  ben.limits = { ...ben.limits, messagesPerSecond: 1, burst: 1 }
  await live(envelopeOf(ann, ben, 'live', { seq: 1 }))
  const second = envelopeOf(ann, ben, 'live', { seq: 2 })
  assert.equal(await codeOf(() => live(second)), 'RATE_LIMITED')
  ben.clock.advance(1_000)
  await live(second)
})

test('messages of a banned machine, are refused before their signature costs anything', async () => {
  const { ann, ben, live } = await trio()
  ben.conduct.ban = { untilMs: NOW + 1, reason: 'test' }
  assert.equal(await codeOf(() => live(envelopeOf(ann, ben, 'live'))), 'BANNED')
  assert.equal(await codeOf(() => record(ben, envelopeOf(ann, ben, 'record'))), 'BANNED')
  assert.equal(await codeOf(() => stored(ben, envelopeOf(ann, ben, 'stored'))), 'BANNED')
})

test('live messages, two under one number, are shown to whoever watches', async () => {
  const { ann, ben, live } = await trio()
  await live(envelopeOf(ann, ben, 'live'))
  assert.equal(await codeOf(() => live(envelopeOf(ann, ben, 'live', { payload: Uint8Array.of(1) }))), 'REPLAYED')
  assert.deepEqual(
    ben.watched.map(({ seq, payload }) => [seq, payload.length]),
    [
      [1, 5],
      [1, 1],
    ],
  )
})

const STORED: readonly (readonly [string, Changes, string])[] = [
  ['life of 14 days', { expiresMs: NOW + 14 * DAY }, 'none'],
  ['life beyond 14 days', { expiresMs: NOW + 14 * DAY + 1 }, 'MESSAGE_STALE'],
  ['no life', { expiresMs: NOW - 1 }, 'MESSAGE_STALE'],
  ['dated 10 minutes ahead', { timeMs: NOW + 600_000 }, 'none'],
  ['dated more than 10 minutes ahead', { timeMs: NOW + 600_001 }, 'MESSAGE_EARLY'],
  ['expired less than 10 minutes ago', { timeMs: NOW - DAY, expiresMs: NOW - 599_999 }, 'none'],
  ['expired 10 minutes ago', { timeMs: NOW - DAY, expiresMs: NOW - 600_000 }, 'MESSAGE_EXPIRED'],
  ['dated and expiring at the end of time', { timeMs: Number.MAX_SAFE_INTEGER, expiresMs: Number.MAX_SAFE_INTEGER }, 'BINDING_EXPIRED'],
]
for (const [name, changes, code] of STORED) {
  test(`stored message, ${name}, ${code === 'none' ? 'is accepted' : code}`, async () => {
    const { ann, ben } = await trio()
    assert.equal(await codeOf(() => stored(ben, envelopeOf(ann, ben, 'stored', changes))), code)
    assert.equal(ben.conduct.reports.length, 0)
  })
}

test('stored message, taken in, is never taken in again, also after a restart', async () => {
  const store = createMemoryStore()
  const ann = await station('ann')
  const ben = await station('ben', { store })
  await knownTo(ben, ann)
  const bytes = envelopeOf(ann, ben, 'stored')
  await accept(ben, bytes)
  assert.equal(await codeOf(() => stored(ben, bytes)), 'REPLAYED')
  const again = await station('ben', { store })
  await knownTo(again, ann)
  assert.equal(await codeOf(() => stored(again, bytes)), 'REPLAYED')
  // Another text under the same id is no way round.
  assert.equal(await codeOf(() => stored(again, envelopeOf(ann, ben, 'stored', { payload: Uint8Array.of(1) }))), 'REPLAYED')
})

test('stored message, checked but lost before its batch, may come again', async () => {
  const store = createMemoryStore()
  const ann = await station('ann')
  const ben = await station('ben', { store })
  await knownTo(ben, ann)
  const bytes = envelopeOf(ann, ben, 'stored')
  await stored(ben, bytes)
  const again = await station('ben', { store })
  await knownTo(again, ann)
  await accept(again, bytes)
})

test('stored message, two copies at the same time, pass once', async () => {
  const { ann, ben } = await trio()
  const bytes = envelopeOf(ann, ben, 'stored')
  const codes = await Promise.all([codeOf(() => accept(ben, bytes)), codeOf(() => accept(ben, bytes)), codeOf(() => accept(ben, bytes))])
  assert.deepEqual(codes.toSorted(), ['REPLAY_PENDING', 'REPLAY_PENDING', 'none'])
  assert.equal(await codeOf(() => stored(ben, bytes)), 'REPLAYED')
})

test('stored message, released, may come again; what was committed stays', async () => {
  const { ann, ben } = await trio()
  const bytes = envelopeOf(ann, ben, 'stored')
  const check = await stored(ben, bytes)
  check.release()
  check.release()
  const second = await stored(ben, bytes)
  await ben.store.batch(second.mark)
  second.commit()
  second.release()
  assert.equal(ben.replay.size, 1)
  assert.equal(await codeOf(() => stored(ben, bytes)), 'REPLAYED')
})

test('stored message, refused for its rate, keeps no place', async () => {
  const { ann, ben } = await trio()
  ben.limits = { ...ben.limits, messagesPerSecond: 1, burst: 1 }
  await accept(ben, envelopeOf(ann, ben, 'stored', { msgId: new Uint8Array(16).fill(1) }))
  const bytes = envelopeOf(ann, ben, 'stored', { msgId: new Uint8Array(16).fill(2) })
  assert.equal(await codeOf(() => stored(ben, bytes)), 'RATE_LIMITED')
  assert.equal(ben.replay.size, 1)
  ben.clock.advance(1_000)
  await accept(ben, bytes)
})

const RECORDS: readonly (readonly [string, Changes, string])[] = [
  ['epoch 0', { epoch: 0 }, 'SEQUENCE_INVALID'],
  ['number 0', { seq: 0 }, 'SEQUENCE_INVALID'],
  ['the last number there is', { seq: Number.MAX_SAFE_INTEGER, epoch: Number.MAX_SAFE_INTEGER }, 'none'],
  ['years old', { timeMs: 1 }, 'none'],
  ['dated 10 minutes ahead', { timeMs: NOW + 600_000 }, 'none'],
  ['dated further ahead', { timeMs: NOW + 600_001 }, 'MESSAGE_EARLY'],
]
for (const [name, changes, code] of RECORDS) {
  test(`record, ${name}, ${code === 'none' ? 'is accepted' : code}`, async () => {
    const { ann, ben } = await trio()
    assert.equal(await codeOf(() => record(ben, envelopeOf(ann, ben, 'record', changes))), code)
  })
}

test('record, with a hybrid signature required, is not accepted with half of it', async () => {
  const { ann, ben, cem } = await trio({ mldsa: true })
  const hybrid = { ...SUITES, suite: 'hybrid' } as const
  await record(ben, envelopeOf(ann, ben, 'record', { suite: 'hybrid' }), hybrid)
  assert.equal(await codeOf(() => record(ben, envelopeOf(ann, ben, 'record'), hybrid)), 'DOWNGRADE_REFUSED')
  assert.equal(await codeOf(() => record(ben, envelopeOf(cem, ben, 'record'), hybrid)), 'SUITE_REQUIRED')
})

test('record, with a false ML-DSA half, is refused, and its carrier not charged', async () => {
  // The original only looked whether the post-quantum half was there and long enough.
  const { ann, ben, cem } = await trio({ mldsa: true })
  const carrier = { peer: cem.did, device: cem.device }
  const bytes = Uint8Array.from(envelopeOf(ann, ben, 'record', { suite: 'hybrid' }))
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
  assert.equal(await codeOf(() => record(ben, bytes, { ...SUITES, carrier })), 'SIGNATURE_INVALID')
  // Papers with another post-quantum key may be on their way here.
  assert.equal(ben.conduct.reports.length, 0)
  const classical = Uint8Array.from(bytes)
  classical[bytes.length - 3309 - 1] = (classical[bytes.length - 3309 - 1] as number) ^ 1
  assert.equal(await codeOf(() => record(ben, classical, { ...SUITES, carrier })), 'SIGNATURE_INVALID')
  assert.equal(ben.conduct.reports.length, 1)
})

test('record, hybrid of a machine whose ML-DSA key is not known here, needs newer papers', async () => {
  const ann = await station('ann', { mldsa: true })
  const plain = await station('ann', { deviceMldsa: false, identity: ann.node.identity })
  const ben = await station('ben')
  await knownTo(ben, plain)
  assert.equal(await codeOf(() => record(ben, envelopeOf(ann, ben, 'record', { suite: 'hybrid' }))), 'DEVICE_UNKNOWN')
  await knownTo(ben, await station('ann', { identity: ann.node.identity, serial: 2 }))
  await record(ben, envelopeOf(ann, ben, 'record', { suite: 'hybrid' }))
})

test('duplicate and trailing fields, in every class, are malformed', async () => {
  const { ann, ben, live } = await trio()
  const twice = (bytes: Uint8Array): Uint8Array => concat(bytes, bytes)
  assert.equal(await codeOf(() => live(twice(envelopeOf(ann, ben, 'live')))), 'WIRE_MALFORMED')
  assert.equal(await codeOf(() => stored(ben, twice(envelopeOf(ann, ben, 'stored')))), 'WIRE_MALFORMED')
  assert.equal(await codeOf(() => record(ben, twice(envelopeOf(ann, ben, 'record')))), 'WIRE_MALFORMED')
})

test('sender with a key that is no valid point, is malformed', async () => {
  const { ann, ben } = await trio()
  for (const at of [3, 35]) {
    const bytes = Uint8Array.from(envelopeOf(ann, ben, 'record'))
    bytes.fill(0, at, at + 32)
    bytes[at] = 1
    assert.equal(await codeOf(() => record(ben, bytes)), 'WIRE_MALFORMED')
  }
})

test('messages of another machine of the own identity, are accepted like any other', async () => {
  const ben = await station('ben')
  const laptop = await station('ben/laptop', { identity: ben.node.identity })
  await knownTo(ben, laptop)
  await accept(ben, envelopeOf(laptop, ben, 'stored'))
})

test('own record, told back by somebody, verifies without papers', async () => {
  const ben = await station('ben')
  const message = await record(ben, envelopeOf(ben, ben, 'record'))
  assert.equal(message.from, ben.did)
})
