import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Retention, type RetentionLimits } from '../../src/gossip/retention.ts'
import type { Item } from '../../src/gossip/topic-index.ts'
import type { Did } from '../../src/identity/did.ts'
import { itemOf } from './items.ts'

const NOW = 1_000_000
const LIMITS: RetentionLimits = { retainMs: NOW, maxEntries: 10, maxBytes: 1_000 }

/** What is kept after these came in this order, settled after every `step`th. */
function keep(limits: RetentionLimits, items: readonly Item[], step = 1, now = NOW): Set<Item> {
  const retention = new Retention(limits)
  const kept = new Set<Item>()
  items.forEach((item, i) => {
    if (item.timeMs < retention.cutoff(now) || retention.refuses(item)) return
    retention.add(item)
    kept.add(item)
    if (i % step === 0) for (const gone of retention.settle(now)) kept.delete(gone)
  })
  for (const gone of retention.settle(now)) kept.delete(gone)
  return kept
}

const author = (name: string): Did => `did:icn:z${name}` as Did
const names = (items: Iterable<Item>): string[] => [...items].map(({ timeMs, author: did }) => `${did} ${timeMs}`).sort()

test('retention, any order of arrival, nodes keep the same entries within the limits', () => {
  const entry = fc.record({ author: fc.constantFrom('A', 'B', 'C', 'D'), time: fc.integer({ min: 1, max: 500 }), size: fc.integer({ min: 1, max: 400 }) })
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), fc.infiniteStream(fc.nat(1_000)), fc.integer({ min: 1, max: 7 }), (entries, random, step) => {
      const items = entries.map((one, i) => itemOf({ name: `${i}`, author: author(one.author), timeMs: one.time, size: one.size }))
      const first = keep(LIMITS, items)
      const shuffled = items.map((item) => ({ item, at: random.next().value })).sort((a, b) => a.at - b.at)
      const second = keep(
        LIMITS,
        shuffled.map(({ item }) => item),
        step,
      )
      assert.deepEqual(names(second), names(first))
      let bytes = 0
      for (const { size } of first) bytes += size
      assert.ok(bytes <= LIMITS.maxBytes && first.size <= LIMITS.maxEntries)
    }),
    { numRuns: 300 },
  )
})

test('retention, any order of arrival and settled only when it says so, nodes keep the same entries', () => {
  const entry = fc.record({ author: fc.constantFrom('A', 'B', 'C'), time: fc.integer({ min: 1, max: 500 }), size: fc.integer({ min: 1, max: 400 }) })
  const keepWhenFull = (items: readonly Item[], step: number): Set<Item> => {
    const retention = new Retention(LIMITS)
    const kept = new Set<Item>()
    items.forEach((item, i) => {
      if (retention.refuses(item)) return
      retention.add(item)
      kept.add(item)
      if (i % step === 0 && retention.full) for (const gone of retention.settle(NOW - 1)) kept.delete(gone)
    })
    if (retention.full) for (const gone of retention.settle(NOW - 1)) kept.delete(gone)
    return kept
  }
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), fc.infiniteStream(fc.nat(1_000)), fc.integer({ min: 1, max: 7 }), (entries, random, step) => {
      const items = entries.map((one, i) => itemOf({ name: `${i}`, author: author(one.author), timeMs: one.time, size: one.size }))
      const shuffled = items.map((item) => ({ item, at: random.next().value })).sort((a, b) => a.at - b.at)
      const inOrder = keepWhenFull(items, 1)
      const inBatches = keepWhenFull(
        shuffled.map(({ item }) => item),
        step,
      )
      assert.deepEqual(names(inBatches), names(inOrder))
    }),
    { numRuns: 300 },
  )
})

test('retention, one author alone, has all the room and keeps the newest', () => {
  const items = Array.from({ length: 25 }, (_, i) => itemOf({ name: `${i}`, timeMs: 1 + i }))
  assert.deepEqual(names(keep(LIMITS, items)), names(items.slice(15)))
})

test('retention, an author that floods, does not push out another one', () => {
  const quiet = Array.from({ length: 4 }, (_, i) => itemOf({ name: `quiet ${i}`, author: author('Q'), timeMs: 1 + i }))
  const flood = Array.from({ length: 500 }, (_, i) => itemOf({ name: `flood ${i}`, author: author('F'), timeMs: 100 + i }))
  const kept = keep(LIMITS, [...quiet, ...flood])
  for (const item of quiet) assert.ok(kept.has(item))
  assert.equal(kept.size, 10)
})

test('retention, an entry that was dropped, is refused when it comes again', () => {
  const retention = new Retention(LIMITS)
  const items = Array.from({ length: 25 }, (_, i) => itemOf({ name: `${i}`, timeMs: 1 + i }))
  for (const item of items) retention.add(item)
  assert.equal(retention.settle(NOW).size, 15)
  assert.equal(retention.refuses(items[14] as Item), true)
  assert.equal(retention.refuses(items[0] as Item), true)
  assert.equal(retention.refuses(itemOf({ timeMs: 50 })), false)
})

test('retention, entries past their age, are dropped whatever room there is', () => {
  const retention = new Retention({ ...LIMITS, retainMs: 100 })
  const old = itemOf({ name: 'old', timeMs: NOW - 101 })
  const young = itemOf({ name: 'young', timeMs: NOW - 100 })
  retention.add(old)
  retention.add(young)
  assert.deepEqual([...retention.settle(NOW)], [old])
})

test('retention, an entry larger than the topic, is refused', () => {
  assert.equal(new Retention(LIMITS).refuses(itemOf({ size: 1_001 })), true)
})
