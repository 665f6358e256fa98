import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { Later, Slicer } from '../../src/mesh/messages/slicer.ts'

/** A slicer whose turns a test ends, and jobs that take time. */
function sliced(options: { maxWaiting?: number } = {}): {
  slicer: Slicer
  clock: ManualClock
  turn: () => Promise<void>
  job: (name: string, ms?: number) => () => string
  done: string[]
} {
  const clock = manualClock(0)
  const waiting: (() => void)[] = []
  const slicer = new Slicer({ clock, yieldTurn: () => new Promise((resolve) => waiting.push(resolve)), ...options })
  const done: string[] = []
  return {
    slicer,
    clock,
    done,
    turn: async () => {
      for (const resolve of waiting.splice(0)) resolve()
      for (let i = 0; i < 10; i++) await Promise.resolve()
    },
    job:
      (name, ms = 1) =>
      () => {
        clock.advance(ms)
        done.push(name)
        return name
      },
  }
}

test('slicer, with time left in the turn, runs a check at once', async () => {
  const { slicer, job, done } = sliced()
  const result = slicer.run('a', job('one'))
  assert.deepEqual(done, ['one'])
  assert.equal(await result, 'one')
  assert.equal(slicer.lanes, 0)
})

test('slicer, after 10 ms of checks, waits for the next turn', async () => {
  const { slicer, job, done, turn } = sliced()
  for (let i = 0; i < 25; i++) void slicer.run('a', job(`${i}`))
  assert.equal(done.length, 10)
  await turn()
  assert.equal(done.length, 20)
  await turn()
  assert.equal(done.length, 25)
  assert.equal(slicer.lanes, 0)
})

test('slicer, one carrier with much work, does not keep the others waiting', async () => {
  const { slicer, job, done, turn } = sliced()
  for (let i = 0; i < 100; i++) void slicer.run('flood', job(`flood ${i}`))
  void slicer.run('b', job('b'))
  void slicer.run('c', job('c'))
  await turn()
  assert.ok(done.indexOf('b') < 13 && done.indexOf('c') < 13, 'they had to wait for more than one round')
})

test('slicer, checks that take long, are at most one over the slice', async () => {
  const { slicer, job, done, turn } = sliced()
  for (let i = 0; i < 4; i++) void slicer.run('a', job(`${i}`, 8))
  assert.equal(done.length, 2)
  await turn()
  assert.equal(done.length, 4)
})

test('slicer, too many checks of one carrier, are refused and the others not', async () => {
  const { slicer, job, turn } = sliced({ maxWaiting: 5 })
  const results: string[] = []
  for (let i = 0; i < 30; i++)
    slicer
      .run('a', job(`${i}`))
      .then((name) => results.push(name))
      .catch((error: { code: string }) => results.push(error.code))
  slicer.run('b', job('b')).then((name) => results.push(name))
  for (let i = 0; i < 10; i++) await turn()
  assert.equal(results.filter((code) => code === 'BUDGET_EXCEEDED').length, 15)
  assert.ok(results.includes('b'))
})

test('slicer, check that has to wait, keeps its carrier’s order and lets others run', async () => {
  const { slicer, job, done, turn } = sliced()
  let give: (value: string) => void = () => undefined
  const value = new Promise<string>((resolve) => {
    give = resolve
  })
  const first = slicer.run('a', () => Later.on(value, (got) => job(got)()))
  void slicer.run('a', job('second'))
  void slicer.run('b', job('other'))
  assert.deepEqual(done, ['other'])
  give('first')
  assert.equal(await first, 'first')
  await turn()
  assert.deepEqual(done, ['other', 'first', 'second'])
})

test('slicer, what comes after waiting, counts as work of its turn', async () => {
  const { slicer, job, done, turn } = sliced()
  for (let i = 0; i < 30; i++) void slicer.run(`lane ${i}`, () => Later.on(Promise.resolve(), () => job(`${i}`)()))
  for (let i = 0; i < 10; i++) await Promise.resolve()
  assert.equal(done.length, 10)
  await turn()
  assert.equal(done.length, 20)
})

test('slicer, checks that throw or reject, end themselves and nothing else', async () => {
  const { slicer, job, done } = sliced()
  await assert.rejects(
    slicer.run('a', () => {
      throw new TypeError('mine')
    }),
    TypeError,
  )
  await assert.rejects(
    slicer.run('a', () => Promise.reject(new TypeError('mine'))),
    TypeError,
  )
  await assert.rejects(
    slicer.run('a', () => Later.on(Promise.reject(new TypeError('store')), () => 'never')),
    TypeError,
  )
  await slicer.run('a', job('after'))
  assert.deepEqual(done, ['after'])
  assert.equal(slicer.lanes, 0)
})

test('slicer, check started from a check, runs in its turn and not inside', async () => {
  const { slicer, job, done } = sliced()
  await slicer.run('a', () => {
    void slicer.run('a', job('inner'))
    void slicer.run('b', job('beside'))
    done.push('outer')
  })
  await Promise.resolve()
  assert.deepEqual(done, ['outer', 'beside', 'inner'])
})
