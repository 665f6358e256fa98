import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import type { Did } from '../../src/identity/did.ts'
import { DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import { RateLimiter } from '../../src/mesh/messages/rate.ts'
import type { ConstraintSet } from '../../src/mesh/types.ts'

const ANN = 'did:icn:ann' as Did
const BEN = 'did:icn:ben' as Did

function limiter(
  limits: Partial<ConstraintSet> = {},
  limit?: number,
): { rates: RateLimiter; clock: ManualClock; set: (changes: Partial<ConstraintSet>) => void } {
  const clock = manualClock(1_000_000)
  let current: ConstraintSet = { ...DEFAULT_CONSTRAINTS.known, messagesPerSecond: 10, burst: 5, ...limits }
  const rates = new RateLimiter({ clock, constraints: () => current, ...(limit === undefined ? {} : { limit }) })
  return {
    rates,
    clock,
    set: (changes) => {
      current = { ...current, ...changes }
    },
  }
}

function takeAll(rates: RateLimiter, did: Did): number {
  let taken = 0
  while (rates.take(did)) taken++
  return taken
}

test('rate, burst at first and its rate from then on, are allowed', () => {
  const { rates, clock } = limiter()
  assert.equal(takeAll(rates, ANN), 5)
  clock.advance(100)
  assert.equal(takeAll(rates, ANN), 1)
  clock.advance(10_000)
  assert.equal(takeAll(rates, ANN), 5)
})

test('rate, of one identity used up, leaves the others theirs', () => {
  const { rates } = limiter()
  takeAll(rates, ANN)
  assert.equal(takeAll(rates, BEN), 5)
  assert.throws(() => rates.charge(ANN), { code: 'RATE_LIMITED' })
})

test('rate, changed class, scales the tokens left and gives no fresh budget', () => {
  const { rates, set, clock } = limiter({ messagesPerSecond: 100, burst: 20 })
  for (let i = 0; i < 10; i++) rates.take(ANN)
  set({ burst: 50, messagesPerSecond: 200 })
  assert.equal(rates.left(ANN), 25)
  set({ burst: 10, messagesPerSecond: 10 })
  assert.equal(rates.left(ANN), 5)
  assert.equal(takeAll(rates, ANN), 5)
  // Going up and down again is no refill either.
  set({ burst: 50 })
  set({ burst: 10 })
  assert.equal(takeAll(rates, ANN), 0)
  clock.advance(100)
  assert.equal(takeAll(rates, ANN), 1)
})

test('rate, time before a change of class, counts at the old rate', () => {
  const { rates, set, clock } = limiter({ messagesPerSecond: 1, burst: 5 })
  takeAll(rates, ANN)
  clock.advance(2_000)
  set({ messagesPerSecond: 1_000 })
  assert.equal(rates.left(ANN), 2)
})

test('rate, a crowd behind one introducer, shares its bucket, and none takes it all', () => {
  const { rates } = limiter({ bucket: { key: 'friend', messagesPerSecond: 100, burst: 12, links: 16 } })
  const crowd = Array.from({ length: 100 }, (_, i) => `did:icn:${i}` as Did)
  assert.equal(takeAll(rates, crowd[0] as Did), 5)
  let taken = 0
  for (const did of crowd.slice(1)) taken += takeAll(rates, did)
  assert.equal(taken, 7)
})

test('rate, refused by the shared bucket, costs nothing of its own', () => {
  const { rates, set } = limiter({ bucket: { key: 'friend', messagesPerSecond: 1, burst: 1, links: 16 } })
  assert.ok(rates.take(ANN))
  assert.ok(!rates.take(BEN))
  set({ bucket: { key: 'other', messagesPerSecond: 10, burst: 10, links: 16 } })
  assert.equal(rates.left(BEN), 5)
})

test('rate, in any order of calls and times, never exceeds burst and rate', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 200 }), (waits) => {
      const { rates, clock } = limiter()
      let taken = 0
      let time = 0
      for (const wait of waits) {
        clock.advance(wait)
        time += wait
        if (rates.take(ANN)) taken++
        assert.ok(taken <= 5 + (time * 10) / 1_000 + 1e-6)
      }
    }),
  )
})

test('rate, more identities than are remembered, keeps bounded', () => {
  const { rates } = limiter({}, 10)
  for (let i = 0; i < 1_000; i++) assert.ok(rates.take(`did:icn:${i}` as Did))
})
