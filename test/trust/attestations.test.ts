import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Did } from '../../src/identity/did.ts'
import { decodeStatement, encodeStatement, MAX_LIFE_MS } from '../../src/trust/statement.ts'
import { attestation, DAY, did, HOUR, me, NOW, recordOf, statement, world } from './support.ts'

const [ann, ben, cem] = ['ann', 'ben', 'cem'].map((name) => did(name)) as [Did, Did, Did]

test('apply, a statement of a friend, counts for the friend of the friend', async () => {
  const { graph } = await world()
  await using _ = graph
  await graph.set(ann, 9_000)
  assert.equal(await graph.apply(attestation(ann, ben, 8_000)), 'applied')
  const explained = graph.explain(ben)
  assert.deepEqual(explained, {
    target: ben,
    score: 2_159,
    class: 'known',
    direct: 0,
    transitive: 7_199,
    paths: [{ via: ann, first: 9_000, second: 8_000, contribution: 7_200 }],
    pathCount: 1,
    introducer: ann,
  })
  assert.equal(graph.bucketOf(ben), ann)
  await graph.set(ben, 1)
  assert.equal(graph.bucketOf(ben), undefined)
})

test('apply, the own edge to the introducer made after its statement came, counts at once', async () => {
  const { graph } = await world()
  await using _ = graph
  await graph.apply(attestation(ann, ben, 8_000))
  assert.equal(graph.score(ben), 0)
  await graph.set(ann, 9_000)
  assert.equal(graph.score(ben), 2_159)
})

test('apply, graphs and scopes, never mix and each has its two hops', async () => {
  const { graph } = await world()
  await using _ = graph
  await graph.set(ann, 9_000, { scope: 'coop:bakery' })
  assert.equal(await graph.apply(attestation(ann, ben, 8_000, { scope: 'coop:bakery' })), 'applied')
  assert.equal(graph.score(ben, { scope: 'coop:bakery' }), 2_159)
  assert.equal(graph.score(ben), 0, 'a scope does not hold everywhere')
  await graph.set(ann, 9_000, { graph: 'economic' })
  assert.equal(await graph.apply(attestation(ann, cem, 8_000, { graph: 'economic' })), 'applied')
  assert.equal(graph.explain(cem, { graph: 'economic' }).transitive, 7_199)
  for (const kind of ['social', 'technical'] as const) assert.equal(graph.score(cem, { graph: kind }), 0, `an economic edge counted as ${kind}`)
})

test('apply, numbers, rise strictly; what is older, equal or comes after a revocation is stale', async () => {
  const { graph } = await world()
  await using _ = graph
  await graph.set(ann, 10_000)
  const transitive = (): number => graph.explain(ben).transitive
  assert.equal(await graph.apply(attestation(ann, ben, 5_000, { sequence: 5 })), 'applied')
  assert.equal(await graph.apply(attestation(ann, ben, 9_000, { sequence: 4 })), 'stale')
  assert.equal(await graph.apply(attestation(ann, ben, 5_000, { sequence: 5 })), 'stale')
  assert.equal(await graph.apply(attestation(ann, ben, 9_000, { sequence: 5 })), 'stale', 'of two of one number the lower weight stands')
  assert.equal(await graph.apply(attestation(ann, ben, 4_000, { sequence: 5 })), 'applied')
  assert.equal(transitive(), 3_999)
  assert.equal(await graph.apply(attestation(ann, ben, 0, { sequence: 6 })), 'applied')
  assert.equal(transitive(), 0)
  assert.equal(await graph.apply(attestation(ann, ben, 5_000, { sequence: 5 })), 'stale', 'a replay does not undo a revocation')
  assert.equal(await graph.apply(attestation(ann, ben, 6_000, { sequence: 7 })), 'applied')
  assert.equal(transitive(), 5_999)
})

test('apply, a revocation that comes before what it revokes, wins', async () => {
  const { graph } = await world()
  await using _ = graph
  await graph.set(ann, 10_000)
  assert.equal(await graph.apply(attestation(ann, ben, 0, { sequence: 6 })), 'applied')
  assert.equal(await graph.apply(attestation(ann, ben, 5_000, { sequence: 5 })), 'stale')
  assert.equal(graph.score(ben), 0)
})

test('apply, numbers of one subject, graph or scope, are no other one’s', async () => {
  const { graph } = await world()
  await using _ = graph
  for (const parts of [{ sequence: 9 }, { sequence: 1, scope: 'a' }, { sequence: 1, graph: 'technical' as const }]) {
    assert.equal(await graph.apply(attestation(ann, ben, 5_000, parts)), 'applied')
  }
  assert.equal(await graph.apply(attestation(ann, cem, 5_000, { sequence: 1 })), 'applied')
  assert.equal(await graph.apply(attestation(cem, ben, 5_000, { sequence: 1 })), 'applied')
})

test('apply, records that are no attestation, classical, or elsewhere, are misplaced', async () => {
  const { graph } = await world()
  await using _ = graph
  const payload = encodeStatement(statement(ben, 5_000))
  assert.equal(await graph.apply(recordOf(ann, payload, { suite: 'ed25519' })), 'misplaced')
  assert.equal(await graph.apply(recordOf(ann, payload, { type: 1 })), 'misplaced')
  assert.equal(await graph.apply(recordOf(ann, payload, { to: { kind: 'topic', topic: 'trust:evidence' } })), 'misplaced')
  assert.equal(await graph.apply(recordOf(ann, payload, { to: { kind: 'did', did: me } })), 'misplaced')
  assert.deepEqual(graph.status(), { edges: 0, issuers: 0, statements: { misplaced: 4 } })
})

test('apply, payloads that are malformed, about their author, or of another date than their envelope, are refused', async () => {
  const { graph } = await world()
  await using _ = graph
  const payload = encodeStatement(statement(ben, 5_000))
  assert.equal(await graph.apply(recordOf(ann, payload.subarray(1))), 'malformed')
  assert.equal(await graph.apply(recordOf(ben, payload)), 'malformed')
  assert.equal(await graph.apply(recordOf(ann, payload, { timeMs: NOW - 600_001 })), 'malformed', 'dated to another binding')
  assert.equal(await graph.apply(recordOf(ann, payload, { timeMs: NOW - 600_000 })), 'applied')
})

test('apply, a statement from the future, waits until its time', async () => {
  const { graph, clock } = await world()
  await using _ = graph
  await graph.set(ann, 10_000)
  const record = attestation(ann, ben, 5_000, { createdMs: NOW + 600_001 })
  assert.equal(await graph.apply(record), 'future')
  assert.equal(graph.score(ben), 0)
  clock.advance(1)
  assert.equal(await graph.apply(record), 'applied')
})

test('apply, an expired statement, counts nowhere and still replaces what is older', async () => {
  const { graph, clock } = await world()
  await using _ = graph
  await graph.set(ann, 10_000)
  await graph.apply(attestation(ann, ben, 9_000, { sequence: 1 }))
  clock.advance(2 * DAY)
  const short = attestation(ann, ben, 3_000, { sequence: 2, createdMs: NOW + 1, expiresMs: NOW + DAY })
  assert.equal(await graph.apply(short), 'expired')
  assert.equal(graph.score(ben), 0, 'whoever heard everything in time has nothing of it left either')
  assert.equal(await graph.apply(attestation(ann, cem, 9_000, { createdMs: NOW - MAX_LIFE_MS, expiresMs: NOW })), 'expired')
  assert.equal(graph.status().edges, 2, 'what is older than a year is not even remembered')
})

test('apply, expiry, tells who listens and needs no question', async () => {
  const { graph, clock } = await world()
  await using _ = graph
  await graph.set(ann, 10_000)
  await graph.apply(attestation(ann, ben, 9_000, { expiresMs: NOW + DAY }))
  const told: (readonly Did[])[] = []
  const stop = graph.onChange((targets) => told.push(targets))
  clock.advance(DAY - 1)
  assert.deepEqual(told, [])
  clock.advance(20)
  assert.deepEqual(told, [[ben]])
  assert.deepEqual(await graph.edges({ target: ben }), [])
  stop()
  await graph.set(ben, 1)
  assert.equal(told.length, 1)
})

test('apply, a listener that throws, breaks nothing', async () => {
  const { graph } = await world()
  await using _ = graph
  let told = 0
  graph.onChange(() => {
    throw new Error('the listener')
  })
  graph.onChange(() => told++)
  await graph.set(ann, 5_000)
  assert.equal(told, 1)
})

test('apply, more statements of an issuer than an hour holds, are refused until its next hour, revocations never', async () => {
  const { graph, clock } = await world()
  await using _ = graph
  const outcomes: string[] = []
  for (let at = 0; at < 32; at++) outcomes.push(await graph.apply(attestation(ann, did(`spam ${at}`), 5_000)))
  assert.deepEqual(outcomes.map((outcome, at) => (outcome === (at < 30 ? 'applied' : 'rate') ? '' : outcome)).join(''), '')
  assert.equal(await graph.apply(attestation(ben, cem, 5_000)), 'applied', 'another issuer is not charged')
  assert.equal(await graph.apply(attestation(ann, did('spam 0'), 5_000)), 'stale', 'who replays uses up nothing')
  assert.equal(await graph.apply(attestation(ann, did('spam 0'), 0, { sequence: NOW + 1 })), 'applied', 'taking back is free')
  clock.advance(HOUR)
  assert.equal(await graph.apply(attestation(ann, did('spam 31'), 5_000, { createdMs: NOW + HOUR })), 'applied')
  assert.equal(graph.status().statements.rate, 2)
})

test('apply, statements of many past hours at once, are all taken', async () => {
  const { graph } = await world()
  await using _ = graph
  for (let at = 0; at < 200; at++) {
    const createdMs = NOW - (at % 20) * HOUR
    assert.equal(await graph.apply(attestation(ann, did(`history ${at}`), 5_000, { createdMs })), 'applied')
  }
})

test('apply, any dates, no more at once than an issuer has room for', async () => {
  const { graph } = await world({ limits: { issuerEdges: 40 }, statementsPerHour: 10 })
  await using _ = graph
  const outcomes: string[] = []
  for (let at = 0; at < 60; at++) {
    outcomes.push(await graph.apply(attestation(ann, did('one'), 5_000, { createdMs: NOW - (60 - at) * HOUR })))
  }
  assert.equal(outcomes.filter((outcome) => outcome === 'applied').length, 40)
  assert.equal(outcomes.filter((outcome) => outcome === 'rate').length, 20)
})

test('own statement, back from another machine of this identity, is numbered after and never obeyed', async () => {
  const { graph, published } = await world()
  await using _ = graph
  assert.equal(await graph.apply(attestation(me, ben, 9_000, { sequence: NOW + 50 })), 'applied')
  assert.equal(await graph.apply(attestation(me, ben, 9_000, { sequence: NOW + 50 })), 'stale')
  assert.equal(graph.score(ben), 0)
  assert.deepEqual(
    graph.said().map(({ subject, weight }) => [subject, weight]),
    [[ben, 9_000]],
  )
  await graph.attest(ben, 4_000)
  assert.equal(decodeStatement(published[0] as Uint8Array).sequence, NOW + 51)
})
