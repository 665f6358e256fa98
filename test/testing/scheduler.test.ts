import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Timer } from '../../src/core/clock.ts'
import { MachineClock, START_MS } from '../../src/testing/node-clock.ts'
import { Scheduler } from '../../src/testing/scheduler.ts'

test('events, in any order of making and cancelling, run by time and then by order of making', async () => {
  const plans = fc.array(fc.record({ at: fc.nat({ max: 20 }), cancelled: fc.boolean() }), { maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(plans, async (plan) => {
      const scheduler = new Scheduler()
      const ran: number[] = []
      const timers = plan.map(({ at }, index) => scheduler.after(at, () => ran.push(index)))
      plan.forEach(({ cancelled }, index) => {
        if (cancelled) timers[index]?.cancel()
      })
      const live = plan.map(({ at, cancelled }, index) => ({ at, cancelled, index })).filter(({ cancelled }) => !cancelled)
      assert.equal(scheduler.pending, live.length)
      await scheduler.advance(100)
      assert.deepEqual(
        ran,
        live.sort((a, b) => a.at - b.at || a.index - b.index).map(({ index }) => index),
      )
      assert.equal(scheduler.pending, 0)
    }),
    { numRuns: 50 },
  )
})

test('thousands of cancelled timers, do not stay in the queue', async () => {
  const scheduler = new Scheduler()
  let ran = 0
  for (let at = 0; at < 20_000; at++) scheduler.after(1_000_000, () => undefined).cancel()
  for (let at = 0; at < 10; at++) scheduler.after(at, () => ran++)
  assert.equal(scheduler.pending, 10)
  await scheduler.advance(10)
  assert.equal(ran, 10)
  assert.equal(scheduler.pending, 0)
})

test('everything an event wakes, ends before the next event begins', async () => {
  const scheduler = new Scheduler()
  const seen: string[] = []
  scheduler.after(1, () => {
    seen.push('first')
    // Each kind of turn begets the next one.
    setImmediate(() => process.nextTick(() => void Promise.resolve().then(() => setImmediate(() => setImmediate(() => seen.push('its echo'))))))
  })
  scheduler.after(1, () => seen.push('second'))
  await scheduler.advance(1)
  assert.deepEqual(seen, ['first', 'its echo', 'second'])
})

test('a file that is read, holds up time until it is there', async () => {
  const scheduler = new Scheduler()
  let readAt = -1
  scheduler.after(1, () => {
    void readFile(new URL(import.meta.url)).then(() => {
      readAt = scheduler.now
    })
  })
  scheduler.after(2, () => undefined)
  await scheduler.advance(10)
  assert.equal(readAt, 1)
})

test('an event that throws and work that fails, end the run with that error', async () => {
  const scheduler = new Scheduler()
  scheduler.after(1, () => {
    throw new Error('thrown')
  })
  scheduler.after(2, () => scheduler.fail(new Error('failed')))
  await assert.rejects(scheduler.advance(5), { message: 'thrown' })
  await assert.rejects(scheduler.advance(5), { message: 'failed' })
  await scheduler.advance(5)
  assert.equal(scheduler.now, 5)
})

test('time that runs, does not run twice at once', async () => {
  const scheduler = new Scheduler()
  const running = scheduler.advance(10)
  await assert.rejects(scheduler.advance(10), TypeError)
  await running
})

test('a machine clock, skewed and fast, shows its own time and fires by it', async () => {
  const scheduler = new Scheduler()
  const machine = new MachineClock(scheduler, { skewMs: 5_000, drift: 0.01 })
  const clock = machine.process()
  let firedAt = 0
  clock.after(1_010, () => {
    firedAt = scheduler.now
  })
  await scheduler.advance(100_000)
  assert.ok(Math.abs(firedAt - 1_000) < 1e-6, `fired at ${firedAt}`)
  assert.equal(clock.now(), START_MS + 5_000 + 101_000)
  assert.ok(Math.abs(clock.monotonic() - 101_000) < 1e-6)
  machine.jump(-60_000)
  assert.equal(clock.now(), START_MS - 55_000 + 101_000)
  assert.ok(Math.abs(clock.monotonic() - 101_000) < 1e-6, 'monotonic time jumped')
})

test('a process that ended, fires nothing, also nothing begun afterwards', async () => {
  const scheduler = new Scheduler()
  const clock = new MachineClock(scheduler).process()
  const fired: string[] = []
  const again: Timer = clock.after(5, () => fired.push('before'))
  clock.stop()
  clock.after(5, () => fired.push('after'))
  await scheduler.advance(100)
  assert.deepEqual(fired, [])
  again.cancel()
  assert.equal(scheduler.pending, 0)
})
