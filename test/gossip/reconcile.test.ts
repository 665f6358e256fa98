import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { toHex } from '../../src/core/bytes.ts'
import { seededRandom } from '../../src/core/random.ts'
import { answerDigest, firstDigest } from '../../src/gossip/reconcile.ts'
import { END, idKey, START, TopicIndex } from '../../src/gossip/topic-index.ts'
import type { Bound, Digest } from '../../src/gossip/wire.ts'
import { decodeFrame, encodeFrame } from '../../src/gossip/wire.ts'
import { itemOf } from './items.ts'

interface Side {
  readonly index: TopicIndex
  readonly got: Set<string>
}

function sideOf(keys: Iterable<{ id: Uint8Array; timeMs: number }>): Side {
  const index = new TopicIndex()
  for (const { id, timeMs } of keys) index.add(itemOf({ id, timeMs }))
  return { index, got: new Set() }
}

/** Runs a comparison to its end as two nodes would; what each learned, the bytes it took, the rounds. */
function compare(a: Side, b: Side, floorA: Bound = START, floorB: Bound = START): { bytes: number; rounds: number; pulls: number } {
  const sides = [a, b] as const
  const floors = [floorA, floorB]
  let bytes = 0
  let rounds = 0
  let pulls = 0
  const take = (to: Side, from: Side, id: Uint8Array): void => {
    if (from.index.get(idKey(id)) !== undefined && to.index.get(idKey(id)) === undefined) to.got.add(toHex(id))
  }
  let turn = 1
  let questions: Pick<Digest, 'from' | 'ranges'>[] = [firstDigest(a.index, floorA)]
  while (questions.length > 0) {
    rounds++
    assert.ok(rounds < 20, 'a comparison comes to an end')
    const [me, other] = [sides[turn] as Side, sides[1 - turn] as Side]
    const answers: Pick<Digest, 'from' | 'ranges'>[] = []
    for (const question of questions) {
      const frame = encodeFrame({ kind: 'digest', nonce: 1, handle: 1, round: rounds, ...question })
      bytes += frame.length
      assert.ok(frame.length <= 128 * 1024)
      const read = decodeFrame(frame.subarray(frame.length > 0x3fff + 2 ? 3 : frame.length > 0x81 ? 2 : 1))
      assert.ok(read.kind === 'digest')
      const outcome = answerDigest(me.index, read, floors[turn] as Bound)
      assert.ok(outcome !== undefined)
      answers.push(...outcome.answers)
      for (const id of outcome.wanted) take(me, other, id)
      for (const id of outcome.lacking) take(other, me, id)
      bytes += 32 * (outcome.wanted.length + outcome.lacking.length)
      for (const { from, to } of outcome.pulls) {
        pulls++
        for (const item of other.index.items.slice(other.index.before(from), other.index.before(to))) take(me, other, item.id)
      }
    }
    questions = answers
    turn = 1 - turn
  }
  return { bytes, rounds, pulls }
}

function assertFound(a: Side, b: Side): void {
  const lacks = (x: Side, y: Side): Set<string> => new Set(y.index.items.filter(({ key }) => x.index.get(key) === undefined).map(({ id }) => toHex(id)))
  assert.deepEqual(new Set([...a.got].sort()), new Set([...lacks(a, b)].sort()))
  assert.deepEqual(new Set([...b.got].sort()), new Set([...lacks(b, a)].sort()))
}

test('comparison, any two sets, both sides learn exactly what they lack', () => {
  const entry = fc.record({ time: fc.nat(40), seed: fc.nat(5_000), where: fc.constantFrom('both', 'a', 'b') })
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 400 }), fc.constantFrom('both', 'a', 'b'), (entries, most) => {
      const all = new Map(entries.map((one) => [one.seed, one]))
      const made = [...all.values()].map(({ time, seed, where }) => ({
        id: seededRandom(`id ${seed}`).bytes(32),
        timeMs: 1_000 + time,
        where: seed % 3 === 0 ? where : most,
      }))
      const a = sideOf(made.filter(({ where }) => where !== 'b'))
      const b = sideOf(made.filter(({ where }) => where !== 'a'))
      compare(a, b)
      assertFound(a, b)
    }),
    { numRuns: 200 },
  )
})

test('comparison, ids that share long prefixes at one time, both sides learn what they lack', () => {
  const near = (last: number, length: number): Uint8Array => {
    const id = new Uint8Array(32).fill(0xff, 0, length)
    id[31] = last
    return id
  }
  const ids = Array.from({ length: 200 }, (_, i) => ({ id: near(i, i % 31), timeMs: 5 }))
  const a = sideOf(ids.filter((_, i) => i % 7 !== 0))
  const b = sideOf(ids.filter((_, i) => i % 5 !== 0))
  compare(a, b)
  assertFound(a, b)
})

test('comparison, equal sets, takes one frame', () => {
  const ids = Array.from({ length: 1_000 }, (_, i) => ({ id: seededRandom(i).bytes(32), timeMs: i }))
  const { bytes, rounds } = compare(sideOf(ids), sideOf(ids))
  assert.equal(rounds, 1)
  assert.ok(bytes < 100, `${bytes} bytes`)
})

test('comparison, one side empty, pulls in one range instead of telling ids', () => {
  const ids = Array.from({ length: 1_000 }, (_, i) => ({ id: seededRandom(i).bytes(32), timeMs: i }))
  const [full, empty] = [sideOf(ids), sideOf([])]
  const { bytes, pulls } = compare(full, empty)
  assertFound(full, empty)
  assert.equal(pulls, 1)
  assert.ok(bytes < 200, `${bytes} bytes`)
})

test('comparison, 100,000 entries of which 1 % differ, takes less than 5 % of the bytes of all of them', () => {
  const random = seededRandom('hundred thousand')
  const made = Array.from({ length: 100_000 }, (_, i) => ({ id: random.bytes(32), timeMs: 1_000 + Math.floor(i / 3), mark: random.unit() }))
  const a = sideOf(made.filter(({ mark }) => mark >= 0.005))
  const b = sideOf(made.filter(({ mark }) => mark < 0.995))
  const { bytes, rounds } = compare(a, b)
  assertFound(a, b)
  const differing = a.got.size + b.got.size
  const envelope = 200 + 256
  assert.ok(differing > 900 && differing < 1_100)
  assert.ok(bytes + differing * envelope < 0.05 * 100_000 * envelope, `${bytes} bytes in ${rounds} rounds`)
  assert.ok(rounds <= 6)
})

test('comparison, a floor above what is kept, is not talked about', () => {
  const ids = Array.from({ length: 300 }, (_, i) => ({ id: seededRandom(i).bytes(32), timeMs: i }))
  const a = sideOf(ids)
  const b = sideOf(ids.slice(200))
  compare(a, b, START, { timeMs: 200, prefix: new Uint8Array(0) })
  assert.equal(b.got.size, 0)
})

test('digest, bounds that do not rise, is refused', () => {
  const a = sideOf([])
  const skip = { mode: 'skip' } as const
  assert.equal(answerDigest(a.index, { from: START, ranges: [{ upper: START, ...skip }] }, START), undefined)
  assert.equal(
    answerDigest(
      a.index,
      {
        from: START,
        ranges: [
          { upper: END, ...skip },
          { upper: { timeMs: 5, prefix: new Uint8Array(0) }, ...skip },
        ],
      },
      START,
    ),
    undefined,
  )
})

test('digest, no ids told for a range of many, is not answered with all of ours', () => {
  const ids = Array.from({ length: 5_000 }, (_, i) => ({ id: seededRandom(i).bytes(32), timeMs: i }))
  const outcome = answerDigest(sideOf(ids).index, { from: START, ranges: [{ upper: END, mode: 'ids', ids: [] }] }, START)
  assert.deepEqual(outcome?.lacking, [])
  assert.equal(outcome?.answers.length, 1)
})
