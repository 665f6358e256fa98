import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_AHEAD, ReplayWindow, WINDOW_BITS, type WindowVerdict } from '../../src/mesh/messages/replay-window.ts'

/** What the window has to answer, with everything remembered. */
class NaiveWindow {
  readonly seen: Set<number> = new Set()
  max = 0

  judge(seq: number): WindowVerdict {
    if (seq < 1 || seq > this.max + MAX_AHEAD) return 'invalid'
    if (seq <= this.max - WINDOW_BITS) return 'old'
    return this.seen.has(seq) ? 'replayed' : 'new'
  }

  mark(seq: number): void {
    this.seen.add(seq)
    this.max = Math.max(this.max, seq)
  }
}

function agree(steps: readonly number[]): void {
  const window = new ReplayWindow()
  const naive = new NaiveWindow()
  for (const seq of steps) {
    const verdict = window.judge(seq)
    assert.equal(verdict, naive.judge(seq), `number ${seq} after ${naive.max}`)
    if (verdict !== 'new') continue
    window.mark(seq)
    naive.mark(seq)
    assert.equal(window.judge(seq), 'replayed')
    assert.equal(window.max, naive.max)
  }
}

test('replay window, any order of numbers near each other, answers as if it remembered all', () => {
  fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 300 }), agree), { numRuns: 300 })
})

test('replay window, jumps of any size, answers as if it remembered all', () => {
  const jump = fc.oneof(
    fc.integer({ min: -1_100, max: 1_100 }),
    fc.constantFrom(1, 31, 32, 33, 1_023, 1_024, 1_025, -1_023, -1_024, -1_025, MAX_AHEAD, MAX_AHEAD + 1),
  )
  fc.assert(
    fc.property(fc.array(jump, { maxLength: 200 }), (jumps) => {
      let at = 1
      agree(
        jumps.map((step) => {
          at = Math.max(0, at + step)
          return at
        }),
      )
    }),
    { numRuns: 300 },
  )
})

for (const [seq, verdict] of [
  [0, 'invalid'],
  [1, 'new'],
  [MAX_AHEAD, 'new'],
  [MAX_AHEAD + 1, 'invalid'],
] as const) {
  test(`replay window, fresh, judges ${seq} ${verdict}`, () => {
    assert.equal(new ReplayWindow().judge(seq), verdict)
  })
}

test('replay window, at its edges, tells old from new', () => {
  const window = new ReplayWindow()
  window.mark(10_000)
  assert.equal(window.judge(10_000 - WINDOW_BITS), 'old')
  assert.equal(window.judge(10_000 - WINDOW_BITS + 1), 'new')
  assert.equal(window.judge(10_000), 'replayed')
  assert.equal(window.judge(10_000 + MAX_AHEAD), 'new')
  assert.equal(window.judge(10_001 + MAX_AHEAD), 'invalid')
})

test('replay window, near the last number there is, still counts', () => {
  const window = new ReplayWindow()
  for (let seq = Number.MAX_SAFE_INTEGER - 2_000; seq < Number.MAX_SAFE_INTEGER; seq += 500) window.mark(seq)
  const last = window.max
  assert.equal(window.judge(last), 'replayed')
  assert.equal(window.judge(last - 500), 'replayed')
  assert.equal(window.judge(last - 501), 'new')
})
