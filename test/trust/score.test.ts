import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Did } from '../../src/identity/did.ts'
import { classOfScore, NoisyOr, scoreOf } from '../../src/trust/score.ts'
import { attestation, did, me, type PlainEdge, reference, world } from './support.ts'

const CLASS = { direct: 7_000, transitive: 3_000 }
const target = did('target')

/** Own edges to friends and theirs to the target, in a fresh node; its score beside the reference and the original's mean. */
async function scored(
  paths: readonly (readonly [number, number])[],
  direct = 0,
  weights = CLASS,
): Promise<{ score: number; transitive: number; mean: number }> {
  const { graph } = await world({ weights: { class: weights } })
  await using _ = graph
  const edges: PlainEdge[] = []
  const plain = { graph: 'social', scope: undefined, createdMs: 0, expiresMs: Number.MAX_SAFE_INTEGER, sequence: 1 } as const
  if (direct > 0) {
    await graph.set(target, direct)
    edges.push({ source: me, target, weight: direct, ...plain })
  }
  for (const [at, [first, second]] of paths.entries()) {
    const friend: Did = did(`friend ${at}`)
    await graph.set(friend, first)
    assert.equal(await graph.apply(attestation(friend, target, second)), 'applied')
    edges.push({ source: me, target: friend, weight: first, ...plain }, { source: friend, target, weight: second, ...plain })
  }
  const expected = reference(edges, target, weights)
  const score = graph.score(target)
  assert.equal(score, expected.score)
  assert.equal(graph.explain(target).score, score)
  return { score, transitive: graph.explain(target).transitive, mean: Math.round(expected.mean * 10_000) }
}

test('score, direct edges alone, is 70 percent of them', async () => {
  assert.equal((await scored([], 8_000)).score, 5_600)
  assert.equal((await scored([], 10_000)).score, 7_000)
  assert.equal((await scored([], 7_000)).score, 4_900)
  assert.equal((await scored([], 3_000)).score, 2_100)
})

test('score, two paths, is a noisy-or above what the mean gave', async () => {
  const { score, transitive, mean } = await scored([
    [9_000, 7_000],
    [8_000, 6_000],
  ])
  assert.equal(transitive, 8_076)
  assert.equal(score, 2_422)
  assert.equal(mean, 1_665)
})

test('score, direct and one path, adds both', async () => {
  assert.equal((await scored([[8_000, 6_000]], 6_000)).score, 5_639)
})

test('score, thirty weak friends who swear to a stranger, is no more than one of them is worth', async () => {
  const { score, transitive } = await scored(Array.from({ length: 30 }, () => [1_000, 10_000] as const))
  assert.equal(transitive, 1_000)
  assert.equal(score, 300)
})

test('score, one fooled or hostile friend, gives what that friend is worth', async () => {
  assert.equal((await scored([[9_000, 8_000]])).score, 2_159)
  assert.equal((await scored([[9_000, 10_000]])).score, 2_699)
})

test('score, fifty perfect paths without a direct edge, stays below Partner even under the social weights', async () => {
  const { score, transitive } = await scored(
    Array.from({ length: 50 }, () => [10_000, 10_000] as const),
    0,
    { direct: 6_000, transitive: 4_000 },
  )
  assert.equal(transitive, 10_000)
  assert.equal(score, 3_999)
  assert.equal(classOfScore(score), 'known')
})

test('score, one more weak path, rises where the mean fell', async () => {
  const strong = await scored([[9_000, 9_000]])
  const joined = await scored([
    [9_000, 9_000],
    [1_000, 1_000],
  ])
  assert.ok(joined.mean < strong.mean, 'the formula of the founding code loses by an introduction')
  assert.ok(joined.score >= strong.score)
})

test('score, the order of paths, is fixed by the key', () => {
  const fold = (paths: readonly (readonly [number, number])[]): number => {
    const either = new NoisyOr()
    for (const [first, second] of paths) either.add(first, second)
    return either.value
  }
  const paths = [
    [3_333, 7_771],
    [9_999, 13],
    [777, 5_551],
  ] as const
  // Every fold is within one basis point; equality is what sorting buys.
  assert.ok(Math.abs(fold(paths) - fold(paths.toReversed())) <= 1)
})

test('class, scores on a boundary, belong to the higher class', () => {
  const expected = { 0: 'isolated', 999: 'isolated', 1000: 'known', 3999: 'known', 4000: 'partner', 6999: 'partner', 7000: 'federated', 10000: 'federated' }
  for (const [score, name] of Object.entries(expected)) assert.equal(classOfScore(Number(score)), name, score)
})

test('score, extremes, stay within range', () => {
  assert.equal(scoreOf(10_000, 10_000, CLASS), 10_000)
  assert.equal(scoreOf(0, 0, CLASS), 0)
  assert.equal(scoreOf(1, 10_000, { direct: 6_000, transitive: 4_000 }), 4_000)
})

test('weights, more than a whole together or not whole, are refused', async () => {
  for (const weights of [
    { direct: 7_000, transitive: 3_001 },
    { direct: -1, transitive: 0 },
    { direct: 0.5, transitive: 0 },
    { direct: Number.NaN, transitive: 0 },
  ]) {
    await assert.rejects(world({ weights: { class: weights } }), TypeError)
  }
})

test('score, graph asked by name, uses the weights of that graph', async () => {
  const { graph } = await world()
  await using _ = graph
  for (const kind of ['social', 'economic', 'technical'] as const) await graph.set(target, 10_000, { graph: kind })
  assert.equal(graph.score(target), 7_000)
  assert.equal(graph.score(target, { graph: 'social' }), 6_000)
  assert.equal(graph.score(target, { graph: 'economic' }), 8_000)
  assert.equal(graph.score(target, { graph: 'technical' }), 9_000)
})

test('score, of this identity itself, is full', async () => {
  const { graph } = await world()
  await using _ = graph
  assert.equal(graph.score(me), 10_000)
  assert.equal(graph.classOf(me), 'federated')
  assert.equal(graph.explain(me).class, 'federated')
})
