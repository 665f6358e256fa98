import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createProgressBar, progressLine } from '../../src/cli/progress.ts'
import { manualClock } from '../../src/core/manual-clock.ts'

const MB = 1_000_000

function screen(watched = true): { terminal: { watched: boolean; columns: number; overwrite(line: string): void }; lines: string[] } {
  const lines: string[] = []
  return { lines, terminal: { watched, columns: 80, overwrite: (line) => lines.push(line) } }
}

test('progress, within the first second, shows nothing', () => {
  const { terminal, lines } = screen()
  const clock = manualClock()
  const bar = createProgressBar({ clock, label: 'a.bin', terminal })
  clock.advance(999)
  bar.update({ done: 1, total: 2, before: 0 })
  bar.end()
  assert.deepEqual(lines, [])
})

test('progress, longer than a second, shows share, size, speed and time left, and is taken away at the end', () => {
  const { terminal, lines } = screen()
  const clock = manualClock()
  const bar = createProgressBar({ clock, label: 'a.bin', terminal })
  clock.advance(2_000)
  bar.update({ done: 50 * MB, total: 100 * MB, before: 10 * MB })
  assert.match(lines[0] ?? '', /^a\.bin \[#+-+\] {2}50 % {2}50\.0 MB of 100 MB {2}20\.0 MB\/s {2}3s left$/)
  bar.end()
  bar.end()
  assert.deepEqual(lines.slice(1), [''])
})

test('progress, no terminal, shows nothing', () => {
  const { terminal, lines } = screen(false)
  const clock = manualClock()
  const bar = createProgressBar({ clock, label: 'a.bin', terminal })
  clock.advance(5_000)
  bar.update({ done: 1, total: 2, before: 0 })
  bar.end()
  assert.deepEqual(lines, [])
  createProgressBar({ clock, label: 'a.bin' }).update({ done: 1, total: 2, before: 0 })
})

test('progress line, any sizes and widths, fits one line', () => {
  const sizes = fc.tuple(fc.nat(2 ** 50), fc.nat(2 ** 50), fc.nat(2 ** 50)).map((three) => three.sort((a, b) => a - b))
  fc.assert(
    fc.property(
      fc.string(),
      sizes,
      fc.integer({ min: 0, max: 1e9 }),
      fc.integer({ min: 20, max: 200 }),
      (label, [before = 0, done = 0, total = 0], ms, columns) => {
        const line = progressLine(label, { done, total, before }, ms, columns)
        return line.length < columns && !line.includes('NaN') && !line.includes('Infinity')
      },
    ),
  )
})
