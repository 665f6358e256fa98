import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../src/core/random.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { nextBoot } from '../../src/mesh/boot.ts'
import { EquivocationIndex } from '../../src/mesh/messages/equivocation.ts'
import { RecordSequences } from '../../src/mesh/messages/sequences.ts'
import type { RecordMessage } from '../../src/mesh/messages/types.ts'
import { envelopeOf, knownTo, outcome, type Station, station } from './messages-support.ts'

const SUITES = { carrier: undefined, suite: 'ed25519', protocol: 'test' } as const

test('record numbers, in each topic, begin somewhere above 0 and rise by one', () => {
  // The original began at 0, which every receiver dropped.
  const sequences = new RecordSequences(3, { ...seededRandom(1), unit: () => 0 })
  assert.equal(sequences.epoch, 3)
  assert.deepEqual(
    ['a', 'a', 'b', 'a', 'b'].map((topic) => sequences.next(topic)),
    [1, 2, 1, 3, 2],
  )
  assert.throws(() => sequences.next('not a topic'), TypeError)
})

test('record numbers, of two runs that count the same epoch, do not meet', () => {
  const before = new RecordSequences(7, seededRandom('before'))
  const copy = new RecordSequences(7, seededRandom('copy'))
  const given = new Set(Array.from({ length: 10_000 }, () => before.next('a')))
  for (let i = 0; i < 10_000; i++) assert.ok(!given.has(copy.next('a')))
  assert.ok(Number.isSafeInteger(Math.max(...given) * 16))
})

test('record numbers, of more topics than are remembered, are never given twice', () => {
  const sequences = new RecordSequences(1, seededRandom(1))
  const given = new Map<string, number>()
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 12_000; i++) {
      const seq = sequences.next(`topic:${i}`)
      assert.ok(seq > (given.get(`topic:${i}`) ?? 0))
      given.set(`topic:${i}`, seq)
    }
  }
})

/** A store in which the machine goes down at the nth write: before it, or after it without an answer. */
function crashing(store: Store, crashAt: number, written: boolean): Store {
  let writes = 0
  return {
    get: store.get.bind(store),
    delete: store.delete.bind(store),
    scan: store.scan.bind(store),
    batch: store.batch.bind(store),
    close: store.close.bind(store),
    put: async (ns, key, value, options) => {
      if (writes++ !== crashAt) return await store.put(ns, key, value, options)
      if (written) await store.put(ns, key, value, options)
      throw new Error('power')
    },
  }
}

test('epoch, crash at every step of a start, is never given to two runs', async () => {
  for (const written of [false, true]) {
    for (let crashAt = 0; crashAt < 6; crashAt++) {
      const store = createMemoryStore()
      const used: number[] = []
      for (let run = 0; run < 6; run++) {
        const at = run === crashAt ? crashing(store, 0, written) : store
        // A run signs only when its boot has been counted.
        const epoch = await nextBoot(at).catch(() => undefined)
        if (epoch !== undefined) used.push(epoch)
      }
      assert.equal(used.length, 5)
      assert.equal(new Set(used).size, used.length, `an epoch came twice: ${used}`)
      assert.deepEqual(
        used,
        used.toSorted((a, b) => a - b),
      )
    }
  }
})

test('epoch, store put back from a copy, is not below what is counted elsewhere', async () => {
  const store = createMemoryStore()
  assert.equal(await nextBoot(store, 7), 7)
  assert.equal(await nextBoot(store, 1), 8)
})

async function verified(at: Station, bytes: Uint8Array): Promise<RecordMessage> {
  return await outcome(() => at.verifier.record(bytes, 'test:topic', SUITES))
}

test('equivocation, two bodies under one number, are told with both envelopes', async () => {
  const ann = await station('ann')
  const ben = await station('ben')
  await knownTo(ben, ann)
  const index = new EquivocationIndex()
  const first = await verified(ben, envelopeOf(ann, ben, 'record', { payload: Uint8Array.of(1) }))
  const second = await verified(ben, envelopeOf(ann, ben, 'record', { payload: Uint8Array.of(2) }))
  assert.equal(index.observe(first), undefined)
  assert.equal(index.observe(first), undefined)
  const found = index.observe(second)
  assert.equal(found?.did, ann.did)
  assert.deepEqual(found?.device, ann.device)
  assert.deepEqual(new Set(found?.proof), new Set([first.bytes, second.bytes]))
  // Whoever saw them in the other order has the same proof.
  const other = new EquivocationIndex()
  other.observe(second)
  assert.deepEqual(other.observe(first)?.proof, found?.proof)
})

test('equivocation, one body with another signature, is none', async () => {
  const ann = await station('ann', { mldsa: true })
  const ben = await station('ben')
  await knownTo(ben, ann)
  const index = new EquivocationIndex()
  const [one, two] = [
    await verified(ben, envelopeOf(ann, ben, 'record', { suite: 'hybrid' })),
    await verified(ben, envelopeOf(ann, ben, 'record', { suite: 'hybrid' })),
  ]
  assert.notDeepEqual(one.bytes, two.bytes)
  assert.deepEqual(one.id, two.id)
  index.observe(one)
  assert.equal(index.observe(two), undefined)
})

test('equivocation, other numbers, epochs, topics and machines, are none', async () => {
  const ann = await station('ann')
  const cem = await station('cem')
  const ben = await station('ben')
  await knownTo(ben, ann, cem)
  const index = new EquivocationIndex()
  const records = [
    await verified(ben, envelopeOf(ann, ben, 'record')),
    await verified(ben, envelopeOf(ann, ben, 'record', { seq: 2 })),
    await verified(ben, envelopeOf(ann, ben, 'record', { epoch: 2 })),
    await verified(ben, envelopeOf(cem, ben, 'record')),
    await outcome(() => ben.verifier.record(envelopeOf(ann, ben, 'record', { topic: 'other' }), 'other', SUITES)),
  ]
  for (const record of records) assert.equal(index.observe(record), undefined)
})

test('equivocation, more records than are remembered, keeps bounded', async () => {
  const ann = await station('ann')
  const ben = await station('ben')
  await knownTo(ben, ann)
  const index = new EquivocationIndex({ messages: 10, bytes: 1_000 })
  for (let seq = 1; seq <= 20; seq++) index.observe(await verified(ben, envelopeOf(ann, ben, 'record', { seq })))
  assert.ok(index.size <= 10)
})
