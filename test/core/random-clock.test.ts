import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock, sleep, systemClock } from '../../src/core/clock.ts'
import { seededRandom, systemRandom } from '../../src/core/random.ts'

test('seeded random, same seed, gives the same stream however it is cut', () => {
  const whole = seededRandom('a').bytes(100)
  const cut = seededRandom('a')
  const pieces = Buffer.concat([cut.bytes(1), cut.bytes(0), cut.bytes(40), cut.fill(new Uint8Array(59))])
  assert.equal(pieces.toString('hex'), Buffer.from(whole).toString('hex'))
  assert.notDeepEqual(seededRandom('b').bytes(100), whole)
  assert.equal(Buffer.from(seededRandom(7).bytes(8)).toString('hex'), Buffer.from(seededRandom('7').bytes(8)).toString('hex'))
})

test('seeded random, first bytes, are the ones of every other machine', () => {
  assert.equal(Buffer.from(seededRandom('kith').bytes(16)).toString('hex'), 'ee1f5a19f6b1a7bb278888e1c9685a5b')
})

test('random, unit, stays in [0, 1) and moves', () => {
  for (const random of [systemRandom, seededRandom(1)]) {
    const values = Array.from({ length: 200 }, () => random.unit())
    assert.ok(values.every((value) => value >= 0 && value < 1))
    assert.ok(new Set(values).size > 150)
  }
  assert.notDeepEqual(systemRandom.bytes(32), systemRandom.bytes(32))
})

test('manual clock, advanced, fires timers in order of time and creation', () => {
  const clock = manualClock(1000)
  const seen: string[] = []
  clock.after(20, () => seen.push(`c${clock.monotonic()}`))
  clock.after(10, () => {
    seen.push(`a${clock.now()}`)
    clock.after(5, () => seen.push(`b${clock.monotonic()}`))
  })
  clock.after(20, () => seen.push('d'))
  const cancelled = clock.after(15, () => seen.push('never'))
  cancelled.cancel()
  assert.equal(clock.next, 10)
  clock.advance(9)
  assert.deepEqual(seen, [])
  clock.advance(50)
  assert.deepEqual(seen, ['a1010', 'b15', 'c20', 'd'])
  assert.equal(clock.now(), 1059)
  assert.equal(clock.pending, 0)
  assert.equal(clock.next, undefined)
})

test('manual clock, wall set, leaves timers where they were', () => {
  const clock = manualClock(1000)
  let fired = 0
  clock.after(10, () => fired++)
  clock.setWall(99_000)
  clock.advance(9)
  assert.equal(fired, 0)
  assert.equal(clock.now(), 99_009)
  clock.advance(1)
  assert.equal(fired, 1)
  assert.throws(() => clock.advance(-1), TypeError)
})

test('manual clock, run, lets woken code go on at its own moment', async () => {
  const clock = manualClock(0)
  const times: number[] = []
  const loop = (async () => {
    for (let i = 0; i < 3; i++) {
      await sleep(clock, 10)
      times.push(clock.now())
    }
  })()
  await clock.run(100)
  await loop
  assert.deepEqual(times, [10, 20, 30])
  assert.equal(clock.now(), 100)
})

test('sleep, aborted before or during, rejects with the reason and leaves no timer', async () => {
  const clock = manualClock()
  const reason = new Error('enough')
  const controller = new AbortController()
  const waiting = sleep(clock, 1000, controller.signal)
  assert.equal(clock.pending, 1)
  controller.abort(reason)
  await assert.rejects(waiting, reason)
  assert.equal(clock.pending, 0)
  await assert.rejects(sleep(clock, 1, controller.signal), reason)
  assert.equal(clock.pending, 0)
})

test('system clock, timer, fires once unless cancelled', async () => {
  const before = systemClock.monotonic()
  await sleep(systemClock, 1)
  assert.ok(systemClock.monotonic() >= before)
  assert.ok(Math.abs(systemClock.now() - Date.now()) < 60_000)
  let fired = false
  systemClock
    .after(0, () => {
      fired = true
    })
    .cancel()
  await sleep(systemClock, 2)
  assert.equal(fired, false)
})

test('system clock, timer of 60 days, fires then and not at once, and can be cancelled on the way', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const day = 86_400_000
  let fired = 0
  systemClock.after(60 * day, () => fired++)
  const cancelled = systemClock.after(60 * day, () => fired++)
  for (let i = 0; i < 59; i++) t.mock.timers.tick(day)
  assert.equal(fired, 0)
  cancelled.cancel()
  // A step ends with the tick in which it falls, so the simulated days add up to a little more.
  for (let i = 0; i < 4; i++) t.mock.timers.tick(day)
  assert.equal(fired, 1)
})
