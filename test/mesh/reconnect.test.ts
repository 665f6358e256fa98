import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { isKithError, KithError } from '../../src/core/errors.ts'
import { seededRandom } from '../../src/core/random.ts'
import { race } from '../../src/mesh/race.ts'
import { BASE_MS, CAP_MS, Reconnector, STEADY_MS, type Target } from '../../src/mesh/reconnect.ts'
import { testIdentity } from './fixtures.ts'

const TARGET: Target = { id: 'ben *', did: testIdentity('ben').chain.did, linkKey: undefined }

interface Bench {
  readonly clock: ManualClock
  readonly state: { connected: boolean; targets: readonly Target[]; readonly dials: number[] }
  readonly reconnector: Reconnector
}

function bench(answers: (attempt: number) => boolean): Bench {
  const clock = manualClock()
  const state = { connected: false, targets: [TARGET] as readonly Target[], dials: [] as number[] }
  const reconnector = new Reconnector({
    clock,
    random: seededRandom('reconnect'),
    targets: () => state.targets,
    connected: () => state.connected,
    dial: async () => {
      state.dials.push(clock.monotonic())
      if (!answers(state.dials.length)) throw new KithError('ADDRESS_UNREACHABLE')
      state.connected = true
    },
  })
  return { clock, state, reconnector }
}

test('a peer that does not answer, is tried with full jitter below a limit that doubles up to five minutes', async () => {
  const { clock, state, reconnector } = bench(() => false)
  reconnector.start()
  await clock.run(6 * 3_600_000)
  const gaps = state.dials.map((at, i) => at - (state.dials[i - 1] ?? 0))
  assert.ok(gaps.length > 50)
  for (const [i, gap] of gaps.entries()) assert.ok(gap <= Math.min(CAP_MS, BASE_MS * 2 ** i), `gap ${i}: ${gap}`)
  const late = gaps.slice(12)
  const mean = late.reduce((a, b) => a + b, 0) / late.length
  assert.ok(mean > CAP_MS / 3 && mean < (CAP_MS * 2) / 3, `mean ${mean}`)
  assert.ok(Math.min(...late) < CAP_MS / 4)
  const status = reconnector.status(TARGET.did)
  assert.equal(status.state, 'waiting')
  assert.ok(status.retryInMs !== null && status.retryInMs <= CAP_MS)
  assert.equal(status.lastError?.code, 'ADDRESS_UNREACHABLE')
  reconnector.stop()
  assert.equal(clock.pending, 0)
})

test('a link that holds for a minute, starts the count anew, and one that does not, goes on', async () => {
  for (const [heldMs, bound] of [
    [STEADY_MS, BASE_MS],
    [STEADY_MS - 1, BASE_MS * 2 ** 20],
  ] as const) {
    const { clock, state, reconnector } = bench((attempt) => attempt === 12)
    reconnector.start()
    while (!state.connected) await clock.run(clock.next ?? 1)
    await clock.run(heldMs)
    state.connected = false
    reconnector.refresh()
    const { retryInMs } = reconnector.status(TARGET.did)
    assert.ok(retryInMs !== null && retryInMs <= bound)
    if (heldMs < STEADY_MS) assert.ok(retryInMs > BASE_MS)
    reconnector.stop()
  }
})

test('a wake, tries whoever is waited for at once', async () => {
  const { clock, state, reconnector } = bench((attempt) => attempt === 13)
  reconnector.start()
  while (state.dials.length < 12) await clock.run(clock.next ?? 1)
  reconnector.wake()
  await clock.run(250)
  assert.equal(state.dials.length, 13)
  assert.equal(state.connected, true)
  reconnector.stop()
})

test('a peer that leaves the address book, is not tried any more', async () => {
  const { clock, state, reconnector } = bench(() => false)
  reconnector.start()
  await clock.run(10_000)
  state.targets = []
  reconnector.refresh()
  const dials = state.dials.length
  await clock.run(3_600_000)
  assert.equal(state.dials.length, dials)
  assert.equal(reconnector.status(TARGET.did).state, 'idle')
  assert.equal(clock.pending, 0)
})

test('a race, starts one candidate every 250 ms, four at once, the next at once after a failure', async () => {
  const clock = manualClock()
  const started: [string, number][] = []
  const aborted: string[] = []
  const ends: Record<string, (ok: boolean) => void> = {}
  const result = race(['a', 'b', 'c', 'd', 'e', 'f'], {
    clock,
    signal: new AbortController().signal,
    attempt: (name, signal) => {
      started.push([name, clock.monotonic()])
      signal.addEventListener('abort', () => aborted.push(name))
      return new Promise<string>((resolve, reject) => {
        ends[name] = (ok) => (ok ? resolve(name) : reject(new KithError('ADDRESS_UNREACHABLE')))
      })
    },
  })
  await clock.run(5_000)
  assert.deepEqual(started, [
    ['a', 0],
    ['b', 250],
    ['c', 500],
    ['d', 750],
  ])
  ends.b?.(false)
  await clock.run(0)
  assert.deepEqual(started.at(-1), ['e', 5_000])
  ends.c?.(true)
  assert.deepEqual(await result, { won: true, value: 'c' })
  assert.deepEqual(aborted, ['a', 'd', 'e'])
  assert.equal(clock.pending, 0)
})

test('a race that nobody wins, reports every failure; one that is aborted, rejects with the reason', async () => {
  const clock = manualClock()
  const lost = await race([1, 2, 3], { clock, signal: new AbortController().signal, attempt: (n) => Promise.reject(new Error(String(n))) })
  assert.ok(!lost.won)
  assert.deepEqual(
    lost.errors.map((error) => (error as Error).message),
    ['1', '2', '3'],
  )
  assert.deepEqual(await race([], { clock, signal: new AbortController().signal, attempt: () => Promise.resolve(1) }), { won: false, errors: [] })
  const stop = new AbortController()
  const running = race([1], { clock, signal: stop.signal, attempt: () => new Promise<number>(() => undefined) })
  stop.abort(new KithError('ABORTED'))
  await assert.rejects(running, (error) => isKithError(error, 'ABORTED'))
})

test('race property: the winner is one that succeeds, whatever the delays', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ ms: fc.nat(2_000), ok: fc.boolean() }), { maxLength: 8 }), async (candidates) => {
      const clock = manualClock()
      let running = 0
      let most = 0
      const result = race(candidates, {
        clock,
        signal: new AbortController().signal,
        attempt: (candidate) => {
          most = Math.max(most, ++running)
          return new Promise((resolve, reject) => {
            clock.after(candidate.ms, () => {
              running--
              if (candidate.ok) resolve(candidate)
              else reject(new Error('no'))
            })
          })
        },
      })
      await clock.run(20_000)
      const settled = await result
      assert.equal(
        settled.won,
        candidates.some(({ ok }) => ok),
      )
      assert.ok(most <= 4)
      if (!settled.won) assert.equal(settled.errors.length, candidates.length)
    }),
    { numRuns: 60 },
  )
})
