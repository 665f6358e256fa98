import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Did } from '../../src/identity/did.ts'
import { EdgeGraph, type PutOutcome } from '../../src/trust/edge-graph.ts'
import { scoreOf } from '../../src/trust/score.ts'
import { MAX_LIFE_MS } from '../../src/trust/statement.ts'
import { DEFAULT_LIMITS, DEFAULT_WEIGHTS } from '../../src/trust/trust-options.ts'
import { insertions } from './insertions.ts'
import { DAY, did, edgeGraph, me, NOW, type PlainEdge, plainDids, put, reference } from './support.ts'

const people: readonly Did[] = [me, ...['ann', 'ben', 'cem', 'dia', 'eva', 'fay'].map((name) => did(name))]
const LAYERS = [
  { graph: 'social', scope: undefined },
  { graph: 'social', scope: 'coop:bakery' },
  { graph: 'economic', scope: undefined },
] as const

interface Step {
  readonly kind: 'say' | 'wait' | 'sweep' | 'remove'
  readonly from: number
  readonly to: number
  readonly layer: number
  readonly weight: number
  readonly lifeMs: number
  readonly waitMs: number
  readonly sequence: number
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('say', 'say', 'say', 'say', 'wait', 'sweep', 'remove'),
  from: fc.nat(people.length - 1),
  to: fc.nat(people.length - 1),
  layer: fc.nat(LAYERS.length - 1),
  weight: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000 }), fc.constant(10_000)),
  lifeMs: fc.constantFrom(1, DAY, 30 * DAY, MAX_LIFE_MS),
  waitMs: fc.constantFrom(1, DAY - 1, DAY, 40 * DAY),
  sequence: fc.integer({ min: 1, max: 4 }),
})

/** A list of edges under the same rules, with nothing incremental about it. */
class Model {
  readonly edges: Map<string, PlainEdge> = new Map()

  put(edge: PlainEdge, now: number): void {
    const id = [edge.source, edge.target, edge.graph, edge.scope].join(' ')
    const known = this.edges.get(id)
    if (edge.source !== me) {
      if (known !== undefined && !wins(edge, known)) return
      if (known === undefined && edge.createdMs + MAX_LIFE_MS <= now && edge.expiresMs <= now) return
    }
    this.edges.set(id, edge)
  }
}

function wins(edge: PlainEdge, known: PlainEdge): boolean {
  if (edge.sequence !== known.sequence) return edge.sequence > known.sequence
  return edge.weight === known.weight ? edge.expiresMs < known.expiresMs : edge.weight < known.weight
}

/** Compares every score with PN-11 computed from the list. Asked twice: once computed, once kept. */
function agree(graph: EdgeGraph, model: Model, now: number): void {
  const edges = [...model.edges.values()]
  for (const layer of LAYERS) {
    for (const target of people.slice(1)) {
      const expected = reference(edges, target, { now, graph: layer.graph, ...(layer.scope === undefined ? {} : { scope: layer.scope }) })
      for (let asked = 0; asked < 2; asked++) {
        const { direct, transitive, introducer } = graph.standing(target, layer.graph, layer.scope, now)
        assert.deepEqual(
          { direct, transitive, introducer, score: scoreOf(direct, transitive, DEFAULT_WEIGHTS.class) },
          { direct: expected.direct, transitive: expected.transitive, introducer: expected.introducer, score: expected.score },
        )
      }
    }
  }
}

test('scores, random edges, layers, revocations, expiries and sweeps, equal a full recomputation after every step', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const graph = edgeGraph()
      const model = new Model()
      let now = NOW
      for (const { kind, from, to, layer, weight, lifeMs, waitMs, sequence } of steps) {
        const source = people[from] as Did
        const target = people[to] as Did
        const key = { source, target, ...(LAYERS[layer] as (typeof LAYERS)[number]) }
        if (kind === 'wait') now += waitMs
        else if (kind === 'sweep') while (graph.expire(now, 2) > 0) agree(graph, model, now)
        else if (source === target) continue
        else if (kind === 'remove') {
          if (source !== me) continue
          graph.remove(key)
          model.edges.delete([key.source, key.target, key.graph, key.scope].join(' '))
        } else if (source !== me || weight > 0) {
          const value = { weight, createdMs: now, expiresMs: now + lifeMs, sequence }
          graph.put(key, value, now)
          model.put({ ...key, ...value }, now)
        }
        agree(graph, model, now)
      }
    }),
    { numRuns: 150 },
  )
})

test('edges, the same statements in any order, also after some of them expired, give the same scores', () => {
  const saying = fc.record({
    from: fc.integer({ min: 1, max: people.length - 1 }),
    to: fc.integer({ min: 1, max: people.length - 1 }),
    weight: fc.integer({ min: 0, max: 10_000 }),
    lifeMs: fc.constantFrom(DAY, 2 * DAY, MAX_LIFE_MS),
    sequence: fc.integer({ min: 1, max: 3 }),
    atMs: fc.constantFrom(0, DAY, 3 * DAY),
  })
  const listed = fc.array(saying, { minLength: 2, maxLength: 25 })
  fc.assert(
    fc.property(
      listed.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length }))),
      ([list, shuffled]) => {
        const end = NOW + 3 * DAY
        const results = [list, shuffled].map((order) => {
          const graph = edgeGraph()
          for (const friend of people.slice(1)) put(graph, me, friend, 5_000)
          // One hears everything as it is said, the other comes late.
          for (const { from, to, weight, lifeMs, sequence, atMs } of order === list ? list.toSorted((a, b) => a.atMs - b.atMs) : order) {
            const now = order === list ? NOW + atMs : end
            graph.expire(now, 1_000)
            if (from !== to) put(graph, people[from] as Did, people[to] as Did, weight, { createdMs: NOW, expiresMs: NOW + lifeMs, sequence }, now)
          }
          return people.slice(1).map((target) => graph.standing(target, 'social', undefined, end).transitive)
        })
        assert.deepEqual(results[0], results[1])
      },
    ),
    { numRuns: 300 },
  )
})

test('scores, 100,000 random insertions, never fall', () => {
  const { lowered, raised } = insertions(100_000, 500, 'quick')
  assert.equal(lowered, 0)
  assert.ok(raised > 10_000, `only ${raised} insertions changed anything`)
})

test('kept scores, an edge of a friend or an own edge changed, are dropped exactly where PN-11 says', () => {
  const [friend, stranger, first, second, third] = plainDids('cache', 5) as [Did, Did, Did, Did, Did]
  const changed: Did[] = []
  const graph = edgeGraph({}, (target) => changed.push(target))
  const all = [friend, stranger, first, second, third]
  const kept = () => all.map((target) => graph.standing(target, 'social', undefined, NOW))
  const dropped = (change: () => void): Did[] => {
    const before = kept()
    changed.length = 0
    const generation = graph.generation
    change()
    assert.equal(graph.generation > generation, changed.length > 0, 'the generation rises with a change and only then')
    const after = kept()
    const gone = all.filter((_, at) => before[at] !== after[at])
    assert.deepEqual(new Set(changed), new Set(gone))
    return gone
  }
  put(graph, me, friend, 5_000)
  put(graph, me, third, 1_000)
  put(graph, friend, first, 5_000)
  put(graph, friend, second, 5_000)
  put(graph, stranger, first, 5_000)
  kept()
  assert.deepEqual(
    dropped(() => put(graph, stranger, second, 9_000)),
    [],
    'an edge of somebody we do not trust touches nothing',
  )
  assert.deepEqual(
    dropped(() => put(graph, friend, first, 6_000, { sequence: 2 })),
    [first],
  )
  assert.deepEqual(
    dropped(() => put(graph, me, friend, 6_000, { sequence: 2 })),
    [friend, first, second],
  )
  assert.deepEqual(
    dropped(() => put(graph, friend, first, 6_000, { sequence: 2 })),
    [],
    'a stale statement touches nothing',
  )
  assert.deepEqual(
    dropped(() => put(graph, friend, second, 0, { sequence: 2 })),
    [second],
  )
  const elsewhere = kept()
  put(graph, me, first, 1, { scope: 'elsewhere' })
  assert.ok(
    kept().every((standing, at) => standing === elsewhere[at]),
    'another scope is another graph',
  )
  assert.deepEqual(
    dropped(() => void graph.remove({ source: me, target: friend, graph: 'social', scope: undefined })),
    [friend, first],
  )
})

test('kept scores, the first of their inputs expires, are computed anew without a sweep', () => {
  const [friend, target] = plainDids('expiry', 2) as [Did, Did]
  const graph = edgeGraph()
  put(graph, me, friend, 10_000, { expiresMs: NOW + 2 * DAY })
  put(graph, friend, target, 10_000, { expiresMs: NOW + DAY })
  const transitive = (now: number): number => graph.standing(target, 'social', undefined, now).transitive
  assert.equal(transitive(NOW), 10_000)
  assert.equal(transitive(NOW + DAY - 1), 10_000)
  assert.equal(transitive(NOW + DAY), 0)
  put(graph, friend, target, 8_000, { sequence: 2, createdMs: NOW + DAY }, NOW + DAY)
  assert.equal(transitive(NOW + DAY), 7_999)
  assert.equal(transitive(NOW + 2 * DAY), 0, 'the own edge is an input too')
})

test('an ended edge, remembered for a year after it was made, is then forgotten with its vertices', () => {
  const [friend, target] = plainDids('forgotten', 2) as [Did, Did]
  const graph = edgeGraph()
  put(graph, friend, target, 5_000, { expiresMs: NOW + DAY, sequence: 7 })
  graph.expire(NOW + DAY, 10)
  assert.equal(put(graph, friend, target, 9_000, { sequence: 6 }, NOW + DAY), 'stale')
  assert.equal(graph.size, 1)
  graph.expire(NOW + MAX_LIFE_MS, 10)
  assert.equal(graph.size, 0)
  assert.equal(graph.issuers, 0)
  assert.equal(graph.gone.length, 1)
  assert.equal(graph.nextWakeMs, undefined)
})

test('edges, one target with two thousand introducers, are found from whichever side is shorter', () => {
  const introducers = plainDids('crowd', 2_000)
  const target = did('famous')
  const many = edgeGraph()
  for (const each of introducers) put(many, each, target, 9_000)
  const few = introducers.filter((_, at) => at % 700 === 0)
  for (const each of few) put(many, me, each, 4_000)
  const one = edgeGraph()
  for (const each of introducers) put(one, me, each, 4_000)
  for (const each of few) put(one, each, target, 9_000)
  assert.deepEqual(many.standing(target, 'social', undefined, NOW), one.standing(target, 'social', undefined, NOW))
})

test('put, fresh graph without room for itself, still takes own edges', () => {
  const graph = new EdgeGraph(me, { ...DEFAULT_LIMITS, edges: 1, layers: 1 }, { forgotten: () => undefined, changed: () => undefined })
  const outcomes: PutOutcome[] = plainDids('own', 3).map((target) => put(graph, me, target, 1_000) as PutOutcome)
  assert.deepEqual(outcomes, ['applied', 'applied', 'applied'])
})
