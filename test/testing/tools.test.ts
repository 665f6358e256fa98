import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../src/core/random.ts'
import { EventLog, MARK_EVERY } from '../../src/testing/event-log.ts'
import { Samples } from '../../src/testing/samples.ts'
import { type Edge, full, line, randomRegular, ring, shuffled, star } from '../../src/testing/topology.ts'

const namesOf = (count: number): string[] => Array.from({ length: count }, (_, at) => `n${at}`)

function degrees(edges: readonly Edge[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of edges.flat()) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

function reachable(from: string, edges: readonly Edge[]): Set<string> {
  const seen = new Set([from])
  for (const name of seen) for (const [a, b] of edges) if (a === name || b === name) seen.add(a === name ? b : a)
  return seen
}

test('a random regular graph of any size, has the degree, no edge twice, and one piece', () => {
  fc.assert(
    fc.property(fc.integer({ min: 5, max: 60 }), fc.constantFrom(2, 4, 6, 8), fc.nat(), (count, degree, seed) => {
      fc.pre(degree < count)
      const edges = randomRegular(namesOf(count), degree, seededRandom(seed))
      if (degree < count - 1) {
        assert.deepEqual(new Set(degrees(edges).values()), new Set([degree]))
        assert.equal(edges.length, (count * degree) / 2)
      }
      assert.equal(new Set(edges.map((edge) => [...edge].sort().join(' '))).size, edges.length)
      assert.ok(edges.every(([a, b]) => a !== b))
      assert.equal(reachable('n0', edges).size, count)
    }),
    { numRuns: 60 },
  )
})

test('the plain graphs, have the edges their names promise', () => {
  assert.deepEqual(ring(['a', 'b', 'c']), [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'a'],
  ])
  assert.deepEqual(ring(['a', 'b']), [['a', 'b']])
  assert.deepEqual(line(['a', 'b', 'c']), [
    ['a', 'b'],
    ['b', 'c'],
  ])
  assert.deepEqual(star(['a', 'b', 'c']), [
    ['a', 'b'],
    ['a', 'c'],
  ])
  assert.equal(full(namesOf(7)).length, 21)
  assert.throws(() => randomRegular(namesOf(9), 3, seededRandom(1)), TypeError)
})

test('a shuffle, keeps everything and favours no order', () => {
  const random = seededRandom('shuffle')
  const counts = new Map<string, number>()
  for (let round = 0; round < 6_000; round++) {
    const order = shuffled(['a', 'b', 'c'], random).join('')
    counts.set(order, (counts.get(order) ?? 0) + 1)
  }
  assert.equal(counts.size, 6)
  for (const [order, count] of counts) assert.ok(Math.abs(count - 1_000) < 150, `${order} came ${count} times of 6000`)
})

test('percentiles of any numbers, are the smallest value that so many do not exceed', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 1, maxLength: 50 }), fc.integer({ min: 1, max: 100 }), (values, percent) => {
      const samples = new Samples()
      for (const value of values) samples.add(value)
      const within = (limit: number): number => values.filter((value) => value <= limit).length
      const got = samples.percentile(percent)
      assert.ok(within(got) * 100 >= percent * values.length)
      assert.ok(values.every((value) => value >= got || within(value) * 100 < percent * values.length))
      assert.equal(samples.max, Math.max(...values))
      assert.equal(samples.count, values.length)
    }),
  )
  assert.ok(Number.isNaN(new Samples().median))
  assert.throws(() => new Samples().add(Number.NaN), TypeError)
})

test('the log, for any change of time, place, size or text, has another digest', () => {
  const digests = new Set<string>()
  const of = (write: (log: EventLog) => void): void => {
    const log = new EventLog()
    write(log)
    digests.add(log.digest())
  }
  const nobody = (): string => ''
  of(() => undefined)
  of((log) => log.segment(1, 2, 3, 4, nobody))
  of((log) => log.segment(1.5, 2, 3, 4, nobody))
  of((log) => log.segment(1, 3, 3, 4, nobody))
  of((log) => log.segment(1, 2, 4, 4, nobody))
  of((log) => log.segment(1, 2, 3, 5, nobody))
  of((log) => log.text(1, 'ab'))
  of((log) => log.text(2, 'ab'))
  of((log) => {
    log.text(1, 'a')
    log.text(1, 'b')
  })
  assert.equal(digests.size, 9)
})

test('the log, asked for its digest in between, goes on to the same one', () => {
  const [asked, silent] = [new EventLog(), new EventLog({ from: 1, to: 3 })]
  for (let at = 0; at < 3 * MARK_EVERY; at++) {
    for (const log of [asked, silent]) log.segment(at, at % 7, at % 5, at, () => 'x to y')
    if (at % 1000 === 0) asked.digest()
  }
  assert.equal(asked.digest(), silent.digest())
  assert.deepEqual(asked.marks, silent.marks)
  assert.equal(asked.marks.length, 3)
  assert.deepEqual(silent.lines, ['#1 at 1 ms: x to y 1 bytes', '#2 at 2 ms: x to y 2 bytes'])
})
