import assert from 'node:assert/strict'
import { test } from 'node:test'
import { manualClock } from '../../src/core/clock.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Logger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import type { Did } from '../../src/identity/did.ts'
import type { SetOptions, TrustGraph } from '../../src/trust/index.ts'
import { decodeStatement, encodeStatement, MAX_LIFE_MS } from '../../src/trust/statement.ts'
import { attestation, DAY, did, HOUR, me, NOW, recordOf, type World, world } from './support.ts'

const [ann, ben, cem] = ['ann', 'ben', 'cem'].map((name) => did(name)) as [Did, Did, Did]

/** A store that survives its closing, for a second start. */
function kept(): Store {
  const store = createMemoryStore()
  return Object.assign(Object.create(store) as Store, {
    get: store.get.bind(store),
    put: store.put.bind(store),
    delete: store.delete.bind(store),
    scan: store.scan.bind(store),
    batch: store.batch.bind(store),
    close: async () => undefined,
  })
}

const view = (graph: TrustGraph): readonly number[] => [ann, ben, cem].map((target) => graph.score(target))

test('set, an own decision, is private until it is said', async () => {
  const { graph, published } = await world()
  await using _ = graph
  await graph.set(ann, 5_500)
  assert.equal(graph.score(ann), 3_850)
  assert.equal(published.length, 0)
  assert.deepEqual(graph.said(), [])
  await graph.set(ben, 8_000, { publish: true, scope: 'coop', graph: 'technical', labels: ['b', 'a', 'b'], expiresMs: NOW + DAY })
  const said = decodeStatement(published[0] as Uint8Array)
  assert.deepEqual(said, {
    subject: ben,
    graph: 'technical',
    scope: 'coop',
    weight: 8_000,
    labels: ['a', 'b'],
    evidence: [],
    createdMs: NOW,
    expiresMs: NOW + DAY,
    sequence: NOW,
  })
  assert.deepEqual(graph.said(), [said])
})

test('attest, a statement alone, decides nothing here', async () => {
  const { graph, published } = await world()
  await using _ = graph
  await graph.attest(ann, 9_000)
  assert.equal(published.length, 1)
  assert.equal(graph.score(ann), 0)
})

test('revoke, takes back the decision and what was said of it, once', async () => {
  const { graph, published } = await world()
  await using _ = graph
  await graph.set(ann, 9_000, { publish: true })
  assert.equal(await graph.revoke(ann), true)
  assert.equal(graph.score(ann), 0)
  const [first, second] = published.map(decodeStatement)
  assert.equal(second?.weight, 0)
  assert.ok((second?.sequence as number) > (first?.sequence as number))
  assert.deepEqual(graph.said(), [])
  assert.equal(await graph.revoke(ann), false)
  assert.equal(published.length, 2, 'there is nothing left to take back')
  await graph.set(ben, 9_000)
  assert.equal(await graph.revoke(ben), true)
  assert.equal(published.length, 2, 'what was never said is not taken back in public')
})

test('revoke, told not to publish or without a way to, leaves what was said', async () => {
  const { graph, published } = await world()
  await using _ = graph
  await graph.set(ann, 9_000, { publish: true })
  assert.equal(await graph.revoke(ann, { publish: false }), true)
  assert.equal(published.length, 1)
  assert.equal(graph.said().length, 1)
})

test('set, values out of range or oneself, is refused and changes nothing', async () => {
  const { graph, published } = await world()
  await using _ = graph
  await graph.set(ann, 5_000)
  const bad: readonly (readonly [Did, number, SetOptions])[] = [
    [ann, Number.NaN, {}],
    [ann, -1, {}],
    [ann, 10_001, {}],
    [ann, 0.25, {}],
    [ann, Number.POSITIVE_INFINITY, {}],
    [me, 5_000, {}],
    [ann, 5_000, { scope: '' }],
    [ann, 5_000, { scope: 'x'.repeat(129) }],
    [ann, 5_000, { labels: ['x'.repeat(129)] }],
    [ann, 5_000, { labels: Array.from({ length: 11 }, (_, at) => `${at}`) }],
    [ann, 5_000, { expiresMs: NOW }],
    [ann, 5_000, { expiresMs: NOW + MAX_LIFE_MS + 1 }],
    [ann, 5_000, { expiresMs: Number.NaN }],
    [ann, 5_000, { graph: 'feudal' as 'social' }],
  ]
  for (const [target, weight, options] of bad) {
    await assert.rejects(graph.set(target, weight, { ...options, publish: true }), TypeError)
    await assert.rejects(graph.attest(target, weight, options), TypeError)
  }
  assert.equal(graph.score(ann), 3_500)
  assert.equal(published.length, 0)
  assert.deepEqual(graph.said(), [])
})

test('attest, no way to publish, is the caller’s mistake', async () => {
  const { graph } = await world({ components: { publish: undefined as never } })
  await using _ = graph
  await assert.rejects(graph.attest(ann, 5_000), TypeError)
})

test('attest, more in an hour than others accept, is refused with a code, taking back is not', async () => {
  const { graph, clock } = await world()
  await using _ = graph
  for (let at = 0; at < 30; at++) await graph.attest(did(`said ${at}`), 5_000)
  await assert.rejects(graph.attest(ann, 5_000), { code: 'TRUST_RATE' })
  await graph.attest(did('said 0'), 0)
  clock.advance(HOUR)
  await graph.attest(ann, 5_000)
})

test('numbers of statements, clock set back or store lost, still rise', async () => {
  const { graph, clock, published } = await world()
  await using _ = graph
  await graph.attest(ann, 5_000)
  clock.setWall(NOW - DAY)
  await graph.attest(ann, 4_000)
  const numbers = published.map((payload) => decodeStatement(payload).sequence)
  assert.deepEqual(
    numbers.toSorted((a, b) => a - b),
    numbers,
  )
  assert.equal(new Set(numbers).size, 2)
  const second = await world({ clock: manualClock(NOW + 1) })
  await using __ = second.graph
  await second.graph.attest(ann, 3_000)
  assert.ok(decodeStatement(second.published[0] as Uint8Array).sequence > Math.max(...numbers.slice(0, 1)))
})

test('trust, second start on the same store, is as it was, what ran out meanwhile left out', async () => {
  const store = kept()
  const first = await world({ store })
  await first.graph.set(ann, 9_000)
  await first.graph.set(cem, 1_000, { expiresMs: NOW + DAY })
  await first.graph.apply(attestation(ann, ben, 8_000, { labels: ['baker'], evidence: [] }))
  await first.graph.apply(attestation(ann, cem, 0, { sequence: 9 }))
  await first.graph.attest(cem, 7_000)
  const scores = view(first.graph)
  await first.graph.close()

  const again = await world({ store, clock: manualClock(NOW) })
  assert.deepEqual(view(again.graph), scores)
  assert.equal(await again.graph.apply(attestation(ann, ben, 8_000)), 'stale')
  assert.equal(await again.graph.apply(attestation(ann, cem, 9_000, { sequence: 8 })), 'stale', 'a revocation is not forgotten by a restart')
  assert.deepEqual((await again.graph.edges({ source: ann }))[0]?.labels, ['baker'])
  await again.graph.attest(cem, 6_000)
  assert.ok(decodeStatement(again.published[0] as Uint8Array).sequence > NOW)
  await again.graph.close()

  const later = await world({ store, clock: manualClock(NOW + MAX_LIFE_MS) })
  assert.deepEqual(view(later.graph), [0, 0, 0])
  assert.deepEqual(later.graph.said(), [])
  await later.graph.close()
  let rows = 0
  for (const ns of ['trust/edge', 'trust/said']) for await (const _ of store.scan(ns)) rows++
  assert.equal(rows, 0, 'nothing is kept of what nobody may remember')
})

test('trust, rows of the store that cannot be read, are left out and told', async () => {
  const store = kept()
  const first = await world({ store })
  await first.graph.set(ann, 9_000)
  await first.graph.set(ben, 8_000)
  await first.graph.close()
  const rows: Uint8Array[] = []
  for await (const { key } of store.scan('trust/edge')) rows.push(key)
  await store.put('trust/edge', rows[0] as Uint8Array, Uint8Array.of(9, 9))
  await store.put('trust/edge', Uint8Array.of(1), Uint8Array.of(9, 9))
  const warnings: string[] = []
  const logger: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (event: string) => warnings.push(event),
    error: () => undefined,
    child: () => logger,
  }
  const again = await world({ store, components: { logger } })
  assert.equal(view(again.graph).filter((score) => score > 0).length, 1)
  assert.equal(warnings.length, 2, 'one for the own rows, one for the others')
  await again.graph.close()
})

test('set, a store that fails, is told and tried again', async () => {
  const store = createMemoryStore()
  let failing = true
  const batch = store.batch.bind(store)
  store.batch = async (operations, options) => {
    if (failing) throw new KithError('STORE_FAILED')
    await batch(operations, options)
  }
  const { graph } = await world({ store })
  await assert.rejects(graph.set(ann, 9_000), { code: 'STORE_FAILED' })
  failing = false
  await graph.close()
  let rows = 0
  for await (const _ of store.scan('trust/edge')) rows++
  assert.equal(rows, 1)
})

test('trust graph, closed, refuses writes and lists, and closes twice', async () => {
  const { graph, clock } = await world()
  await graph.set(ann, 5_000, { expiresMs: NOW + 1 })
  await graph.close()
  await graph.close()
  assert.equal(clock.pending, 0, 'a timer is left')
  await assert.rejects(graph.set(ann, 1), { code: 'CLOSED' })
  await assert.rejects(graph.revoke(ann), { code: 'CLOSED' })
  await assert.rejects(graph.edges(), { code: 'CLOSED' })
  await assert.rejects(graph.apply(recordOf(ann, encodeStatement(decodeStatement(attestation(ann, ben, 1).payload)))), { code: 'CLOSED' })
})

test('edges, listed by source, target, graph and scope, with a limit', async () => {
  const { graph } = await world()
  await using _ = graph
  await graph.set(ann, 1_000)
  await graph.set(ben, 2_000, { graph: 'economic', scope: 'coop' })
  await graph.apply(attestation(ann, ben, 3_000))
  await graph.apply(attestation(cem, ben, 4_000))
  await graph.apply(attestation(cem, ann, 0))
  const weights = async (filter: Parameters<TrustGraph['edges']>[0]): Promise<readonly number[]> =>
    (await graph.edges(filter)).map(({ weight }) => weight).sort()
  assert.deepEqual(await weights({}), [1_000, 2_000, 3_000, 4_000])
  assert.deepEqual(await weights({ source: me }), [1_000, 2_000])
  assert.deepEqual(await weights({ target: ben }), [2_000, 3_000, 4_000])
  assert.deepEqual(await weights({ target: ben, graph: 'social' }), [3_000, 4_000])
  assert.deepEqual(await weights({ source: ann, target: ben }), [3_000])
  assert.deepEqual(await weights({ source: cem, target: ann }), [], 'what was taken back is no edge')
  assert.deepEqual(await weights({ graph: 'economic' }), [])
  assert.deepEqual(await weights({ graph: 'economic', scope: 'coop' }), [2_000])
  assert.deepEqual(await weights({ source: did('nobody') }), [])
  assert.equal((await graph.edges({ limit: 2 })).length, 2)
})

test('explain, a target with hundreds of paths, tells the strongest and how many there are', async () => {
  const made: World = await world({ statementsPerHour: 1_000 })
  await using graph = made.graph
  for (let at = 0; at < 100; at++) {
    await graph.set(did(`via ${at}`), 1_000 + at)
    await graph.apply(attestation(did(`via ${at}`), ben, 9_000))
  }
  const { paths, pathCount, transitive } = graph.explain(ben)
  assert.equal(pathCount, 100)
  assert.equal(paths.length, 64)
  assert.deepEqual(
    paths.map(({ contribution }) => contribution),
    paths.map(({ contribution }) => contribution).toSorted((a, b) => b - a),
  )
  assert.equal(paths[0]?.first, 1_099)
  assert.equal(transitive, 1_099)
})
