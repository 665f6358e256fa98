import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { Secret } from '../../src/core/secret.ts'
import { type Did, formatDid } from '../../src/identity/did.ts'
import { constraintTable, DEFAULT_CONSTRAINTS } from '../../src/mesh/constraints.ts'
import type { ClassLimits, PeerClass } from '../../src/mesh/types.ts'
import { TrustOracle } from '../../src/trust/oracle.ts'

const did = (name: string): Did => formatDid(publicKeyOfSeed(Secret.take(createHash('sha256').update(name).digest())))
const [ANN, BEN, CEM, FAY] = ['ann', 'ben', 'cem', 'fay'].map(did) as [Did, Did, Did, Did]

interface World {
  readonly scores: Map<Did, number>
  readonly introducers: Map<Did, Did>
  readonly reputations: Map<Did, number>
  readonly low: Set<Did>
  limits: Readonly<Record<PeerClass, ClassLimits>>
  min: number
  readonly oracle: TrustOracle
}

function world(): World {
  const made: World = {
    scores: new Map(),
    introducers: new Map(),
    reputations: new Map(),
    low: new Set(),
    limits: constraintTable(),
    min: 0,
    oracle: new TrustOracle({
      trust: { score: (peer) => made.scores.get(peer) ?? 0, bucketOf: (peer) => made.introducers.get(peer) },
      standing: { reputationOf: (peer) => made.reputations.get(peer) ?? 10_000, isolated: (peer) => made.low.has(peer) },
      limits: () => made.limits,
      minScore: () => made.min,
    }),
  }
  return made
}

test('oracle, a score exactly on a boundary, is of the class that begins there', () => {
  const { oracle, scores } = world()
  const classes: [number, PeerClass][] = [
    [0, 'isolated'],
    [999, 'isolated'],
    [1_000, 'known'],
    [3_999, 'known'],
    [4_000, 'partner'],
    [6_999, 'partner'],
    [7_000, 'federated'],
    [10_000, 'federated'],
  ]
  for (const [score, held] of classes) {
    scores.set(ANN, score)
    assert.equal(oracle.classOf(ANN), held, `${score}`)
    assert.equal(oracle.constraints(ANN), oracle.constraints(ANN))
    assert.deepEqual(oracle.constraints(ANN), DEFAULT_CONSTRAINTS[held])
  }
})

test('oracle, limits per class, are those of the founding text', () => {
  const { oracle, scores } = world()
  const rates = [0, 1_000, 4_000, 7_000].map((score) => {
    scores.set(ANN, score)
    const { messagesPerSecond, burst } = oracle.constraints(ANN)
    return [messagesPerSecond, burst]
  })
  assert.deepEqual(rates, [
    [10, 5],
    [20, 10],
    [100, 25],
    [200, 50],
  ])
})

test('oracle, what misbehaviour left of a reputation, scales the score', () => {
  const { oracle, scores, reputations, low } = world()
  scores.set(ANN, 8_000)
  reputations.set(ANN, 5_000)
  assert.equal(oracle.scoreOf(ANN), 4_000)
  assert.equal(oracle.classOf(ANN), 'partner')
  reputations.set(ANN, 4_999)
  assert.equal(oracle.classOf(ANN), 'known')
  low.add(ANN)
  assert.equal(oracle.scoreOf(ANN), 999, 'in quarantine nobody is more than a stranger')
  assert.equal(oracle.classOf(ANN), 'isolated')
  reputations.set(ANN, 0)
  assert.equal(oracle.scoreOf(ANN), 0)
})

test('oracle, least standing for links, refuses whoever is below it and names the command', () => {
  const made = world()
  const { oracle, scores } = made
  assert.equal(oracle.decide({ peer: ANN, action: 'link' }).allowed, true, 'the default lets strangers in')
  made.min = 1_000
  scores.set(ANN, 999)
  const refused = oracle.decide({ peer: ANN, action: 'link' })
  assert.deepEqual([refused.allowed, refused.abstains], [false, undefined])
  assert.match(refused.rule, /1000.*999/)
  assert.equal(refused.next, `kith allow ${ANN} link`)
  scores.set(ANN, 1_000)
  assert.equal(oracle.decide({ peer: ANN, action: 'link' }).allowed, true)
  made.min = 0
  scores.set(ANN, 0)
  assert.equal(oracle.decide({ peer: ANN, action: 'link' }).allowed, true, 'a cached answer is of its own threshold')
})

test('oracle, any other action, abstains: trust neither opens nor closes it', () => {
  const { oracle, scores } = world()
  scores.set(ANN, 10_000)
  for (const action of ['ping', 'open', 'forward', 'file', 'call', 'publish', 'subscribe', 'mailbox', 'something new']) {
    const decision = oracle.decide({ peer: ANN, action, target: 'x' })
    assert.equal(decision.abstains, true)
    assert.equal(decision.allowed, false)
  }
})

test('oracle, peers that come through one introducer, share one bucket; those with an edge of their own do not', () => {
  const { oracle, scores, introducers } = world()
  for (const peer of [ANN, BEN]) {
    scores.set(peer, 2_000)
    introducers.set(peer, FAY)
  }
  scores.set(CEM, 2_000)
  const [ann, ben, cem] = [ANN, BEN, CEM].map((peer) => oracle.constraints(peer))
  assert.deepEqual(ann?.bucket, { key: FAY, messagesPerSecond: 200, burst: 100, links: 16 })
  assert.equal(ann?.bucket, ben?.bucket)
  assert.equal(cem?.bucket, undefined)
  assert.equal(oracle.constraints(ANN), ann, 'the same object until something changes')
  scores.set(ANN, 500)
  assert.equal(oracle.constraints(ANN).bucket, undefined, 'strangers share their own budget')
})

test('oracle, another table of limits, counts at once', () => {
  const made = world()
  made.scores.set(ANN, 2_000)
  made.introducers.set(ANN, FAY)
  const before = made.oracle.constraints(ANN)
  made.limits = constraintTable({ known: { messagesPerSecond: 50, burst: 20 } })
  const after = made.oracle.constraints(ANN)
  assert.notEqual(after, before)
  assert.deepEqual([after.messagesPerSecond, after.bucket?.messagesPerSecond, after.bucket?.burst], [50, 500, 200])
})

test('oracle, asked about ever new peers, keeps a bounded number of answers', () => {
  const made = world()
  made.min = 1
  for (let i = 0; i < 40_000; i++) {
    const peer = `did:icn:z${i}` as Did
    assert.equal(made.oracle.decide({ peer, action: 'link' }).allowed, false)
  }
  for (let i = 0; i < 1_000; i++) assert.equal(made.oracle.decide({ peer: ANN, action: `action ${i}` }).abstains, true)
})
