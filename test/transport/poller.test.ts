import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { Poller } from '../../src/transport/mux/poller.ts'

/** A poller whose loop turns by hand, every turn taking 10 us. `exchange` flushes once and lets the answer come after `us`, or after `polledUs` when it is polled for. */
function bench(limitUs = 200): {
  poller: Poller
  turns: () => number
  waiting: () => boolean
  pass: (us: number) => void
  exchange: (us: number, polledUs?: number) => boolean
} {
  let time = 0
  let turns = 0
  let next: (() => void) | undefined
  const clock = { ...manualClock(), monotonic: () => time / 1_000 }
  const poller = new Poller(
    clock,
    () => limitUs,
    (run) => {
      assert.equal(next, undefined, 'one turn at a time')
      next = run
    },
  )
  const pass = (us: number): void => {
    const until = time + us
    while (next !== undefined && time + 10 <= until) {
      time += 10
      turns++
      const run = next
      next = undefined
      run()
    }
    time = until
  }
  return {
    poller,
    turns: () => turns,
    waiting: () => next !== undefined,
    pass,
    exchange(us, polledUs = us) {
      poller.sent()
      const polled = next !== undefined
      pass(polled ? polledUs : us)
      poller.received()
      pass(10)
      return polled
    },
  }
}

/** How many of so many exchanges were polled for. */
function polls(count: number, one: () => boolean): number {
  let polled = 0
  for (let i = 0; i < count; i++) if (one()) polled++
  return polled
}

test('a poller, where answers come sooner when it polls, polls for nearly all of them', () => {
  const { exchange } = bench()
  const polled = polls(1_024, () => exchange(90, 20))
  assert.ok(polled > 950 && polled < 1_024, `${polled} of 1,024`)
})

test('a poller, where answers come no sooner when it polls, leaves it but for trials', () => {
  const { exchange } = bench()
  const polled = polls(1_024, () => exchange(40, 60))
  assert.ok(polled > 0 && polled <= 5 * 8, `${polled} of 1,024`)
})

test('a poller in whose way the answer stands, loses one limit in a period', () => {
  const { exchange, turns } = bench()
  const polled = polls(2_048, () => exchange(40, 400))
  assert.ok(polled >= 1 && polled <= 9, `${polled} of 2,048`)
  assert.ok(turns() <= 9 * 21 + 2_048, `${turns()} turns`)
})

test('a poller, when polling no longer pays, stops before the period is over, and finds out when it pays again', () => {
  const { exchange } = bench()
  polls(512, () => exchange(90, 20))
  assert.ok(polls(100, () => exchange(90, 190)) < 20)
  assert.ok(polls(1_024, () => exchange(90, 20)) > 700)
})

test('a poller, on a connection used now and then, never polls', () => {
  const { exchange, turns } = bench()
  assert.equal(
    polls(100, () => exchange(20_000)),
    0,
  )
  assert.equal(turns(), 0)
})

test('a poller, after a pause, sleeps through one exchange and goes on as before', () => {
  const { exchange } = bench()
  polls(300, () => exchange(90, 20))
  exchange(1_000_000)
  assert.equal(exchange(90, 20), false)
  assert.equal(exchange(90, 20), true)
})

test('a poller, with the limit over, sleeps until the next flush', () => {
  const { poller, exchange, pass, turns, waiting } = bench()
  polls(300, () => exchange(90, 20))
  const before = turns()
  poller.sent()
  assert.ok(waiting())
  pass(5_000)
  assert.equal(waiting(), false)
  assert.ok(turns() - before <= 21, `${turns() - before} turns for 200 us of 10 us each`)
})

test('a poller, while bulk leaves without an answer, sleeps', () => {
  const { poller, exchange, pass, waiting } = bench()
  polls(300, () => exchange(90, 20))
  for (let i = 0; i < 3; i++) poller.sent()
  pass(10)
  assert.equal(waiting(), false)
})

test('a poller, when nothing was sent, does not poll for what comes', () => {
  const { poller, exchange, waiting, pass } = bench()
  polls(300, () => exchange(90, 20))
  poller.received()
  pass(10)
  assert.equal(waiting(), false)
})

test('a poller, at the end of its connection, lets the loop go', () => {
  const { poller, exchange, waiting, pass } = bench()
  polls(300, () => exchange(90, 20))
  poller.sent()
  assert.ok(waiting())
  poller.end()
  pass(10)
  assert.equal(waiting(), false)
})

test('a poller with limit 0, never polls', () => {
  const { exchange, turns } = bench(0)
  assert.equal(
    polls(300, () => exchange(90, 20)),
    0,
  )
  assert.equal(turns(), 0)
})

test('a poller on a clock that stands still, ends after a bounded number of turns', () => {
  let next: (() => void) | undefined
  let turns = 0
  let time = 0
  const clock = { ...manualClock(), monotonic: () => time }
  const poller = new Poller(
    clock,
    () => 200,
    (run) => {
      next = run
    },
  )
  for (let i = 0; i < 3; i++) {
    poller.sent()
    time += 0.05
    poller.received()
  }
  poller.sent()
  while (next !== undefined && turns < 1_000_000) {
    const run: () => void = next
    next = undefined
    turns++
    run()
  }
  assert.ok(turns > 100 && turns < 20_000, `${turns} turns`)
})
