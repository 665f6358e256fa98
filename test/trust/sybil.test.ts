import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Did } from '../../src/identity/did.ts'
import type { EdgeGraph } from '../../src/trust/edge-graph.ts'
import { pathShare, STRANGER_LIMIT, scoreOf } from '../../src/trust/score.ts'
import { DEFAULT_WEIGHTS } from '../../src/trust/trust-options.ts'
import { generator } from '../fuzz/mutate.ts'
import { edgeGraph, me, NOW, plainDids, put } from './support.ts'

/** Edges from me and honest people into the region. */
interface Crossing {
  readonly source: Did
  readonly target: Did
  readonly weight: number
}

const honest = plainDids('honest', 40)
const ownWeight = (at: number): number => 1_000 + ((at * 977) % 9_000)

/** Twenty friends among forty honest people, who know each other. */
function honestWorld(): EdgeGraph {
  const graph = edgeGraph()
  const pick = generator(7)
  honest.slice(0, 20).forEach((friend, at) => {
    put(graph, me, friend, ownWeight(at))
  })
  for (const source of honest) for (const target of honest) if (source !== target && pick(3) === 0) put(graph, source, target, 1 + pick(10_000))
  return graph
}

/** Each identity swears to a hundred others and to honest people, fully. */
function flood(graph: EdgeGraph, region: readonly Did[], pick: (below: number) => number): void {
  for (const source of region) {
    for (let each = 0; each < 8; each++) {
      const target = each === 0 ? (honest[pick(honest.length)] as Did) : (region[pick(region.length)] as Did)
      if (source !== target) put(graph, source, target, 10_000, { sequence: each + 1 })
    }
  }
}

/** The bound of the proof, computed from the crossing edges alone. */
function boundOf(crossings: readonly Crossing[]): number {
  let rest = 1
  let best = 0
  for (const { source, weight } of crossings) {
    const first = source === me ? weight : ownWeight(honest.indexOf(source))
    const share = source === me ? weight / 10_000 : pathShare(first, weight) / 2 ** 20
    best = Math.max(best, first)
    rest *= 1 - share
  }
  return Math.min(best, Math.ceil((1 - rest) * 10_000))
}

for (const size of [10, 100, 1_000, 10_000]) {
  test(`sybil region, ${size} identities that swear to each other, none is above the bound of the edges into it`, () => {
    for (const fooled of [0, 1, 3]) {
      const region = plainDids(`region ${size} ${fooled}`, size)
      const graph = honestWorld()
      const pick = generator(size + fooled)
      const before = honest.map((person) => graph.standing(person, 'social', undefined, NOW))
      const crossings: Crossing[] = []
      for (let at = 0; at < fooled; at++) {
        crossings.push({ source: honest[at * 3] as Did, target: region[at] as Did, weight: 9_000 - at * 1_000 })
      }
      if (fooled === 3) crossings.push({ source: me, target: region[5] as Did, weight: 2_500 })
      for (const { source, target, weight } of crossings) put(graph, source, target, weight)
      flood(graph, region, pick)

      const bound = boundOf(crossings)
      const direct = new Set(crossings.filter(({ source }) => source === me).map(({ target }) => target))
      const buckets = new Set<Did>()
      for (const target of region) {
        const standing = graph.standing(target, 'social', undefined, NOW)
        assert.ok(standing.transitive <= bound, `${standing.transitive} above ${bound}`)
        if (direct.has(target)) continue
        assert.ok(scoreOf(standing.direct, standing.transitive, DEFAULT_WEIGHTS.class) <= STRANGER_LIMIT)
        if (standing.introducer !== undefined) buckets.add(standing.introducer)
      }
      if (fooled === 0) assert.equal(bound, 0)
      assert.ok(buckets.size <= crossings.length, `${buckets.size} budgets by ${crossings.length} edges`)
      honest.forEach((person, at) => {
        const after = graph.standing(person, 'social', undefined, NOW)
        assert.ok(after.transitive >= (before[at]?.transitive as number), 'an honest person lost by what the region says')
      })
    }
  })
}

test('sybil region, one hostile friend behind it, gives every identity what the friend is worth and one bucket for all', () => {
  const graph = edgeGraph({ issuerEdges: 20_000 })
  const friend = honest[0] as Did
  const region = plainDids('behind a friend', 10_000)
  put(graph, me, friend, 9_000)
  region.forEach((target, at) => {
    put(graph, friend, target, 10_000, { sequence: at + 1 })
  })
  for (const target of region) {
    const { direct, transitive, introducer } = graph.standing(target, 'social', undefined, NOW)
    assert.equal(scoreOf(direct, transitive, DEFAULT_WEIGHTS.class), 2_699)
    assert.equal(introducer, friend)
  }
})

test('introducer, two of equal share, is the one with the smaller key', () => {
  const [one, other, target] = plainDids('equal', 3) as [Did, Did, Did]
  const smaller = ((): Did => {
    const graph = edgeGraph()
    for (const via of [other, one]) {
      put(graph, me, via, 5_000)
      put(graph, via, target, 5_000)
    }
    return graph.standing(target, 'social', undefined, NOW).introducer as Did
  })()
  const graph = edgeGraph()
  for (const via of [one, other]) {
    put(graph, me, via, 5_000)
    put(graph, via, target, 5_000)
  }
  assert.equal(graph.standing(target, 'social', undefined, NOW).introducer, smaller)
  put(graph, smaller === one ? other : one, target, 5_001, { sequence: 2 })
  assert.notEqual(graph.standing(target, 'social', undefined, NOW).introducer, smaller)
})
