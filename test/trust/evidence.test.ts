import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { createAudit } from '../../src/core/observe/audit.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics } from '../../src/core/observe/metrics.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import type { Did } from '../../src/identity/did.ts'
import type { ChainEntry } from '../../src/identity/types.ts'
import type { DevicePapers } from '../../src/mesh/messages/types.ts'
import { decodeEvidence, type Evidence, encodeEvidence, MAX_PROOF_BYTES } from '../../src/trust/evidence.ts'
import { checkEvidence } from '../../src/trust/evidence-check.ts'
import { EvidenceDesk } from '../../src/trust/evidence-desk.ts'
import { openStanding } from '../../src/trust/standing.ts'
import type { Standing } from '../../src/trust/standing-types.ts'
import { conformance } from '../conformance.ts'
import { NOW, testIdentity } from '../mesh/fixtures.ts'
import { forkedHistories, pair, type Signing, signing } from './evidence-support.ts'

const DAY = 86_400_000
const ME = testIdentity('me').chain.did

interface Desk {
  readonly desk: EvidenceDesk
  readonly standing: Standing
  readonly clock: ManualClock
  readonly published: Uint8Array[]
  readonly papers: Map<Did, DevicePapers>
  readonly revoked: Set<Did>
  metric(outcome: string): string | undefined
}

async function desk(own: Did = ME): Promise<Desk> {
  const store = createMemoryStore()
  const clock = manualClock(NOW)
  const metrics = createMetrics()
  const audit = createAudit({ store, clock })
  const standing = await openStanding({ store, clock, logger: silentLogger, own, audit })
  const published: Uint8Array[] = []
  const papers = new Map<Did, DevicePapers>()
  const revoked = new Set<Did>()
  const made = new EvidenceDesk({
    standing,
    clock,
    logger: silentLogger,
    metrics,
    papers: async (did) => papers.get(did),
    revoked: async (did) => revoked.has(did),
    publish: async (bytes) => void published.push(bytes),
  })
  const metric = (outcome: string): string | undefined =>
    metrics
      .render()
      .split('\n')
      .find((line) => line.startsWith(`kith_evidence_total{outcome="${outcome}"}`))
      ?.split(' ')[1]
  return { desk: made, standing, clock, published, papers, revoked, metric }
}

function equivocation(of: Signing, one: Uint8Array, other: Uint8Array, papers: DevicePapers = of.papers): Evidence {
  const [first, second] = pair(of, one, other).proof
  return { kind: 'equivocation', binding: papers.binding, chain: papers.chain, first, second }
}

function holds(evidence: Evidence): boolean {
  try {
    checkEvidence(evidence, new Uint8Array(0), { now: NOW })
    return true
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'EVIDENCE_INVALID')
    return false
  }
}

test('two records of one number with different bodies, prove equivocation to a node that knows neither identity', async () => {
  const eve = signing('eve')
  const at = await desk()
  const encoded = encodeEvidence(equivocation(eve, eve.record('yes'), eve.record('no')))
  assert.equal(await at.desk.take(encoded), 'proved')
  assert.notEqual(at.standing.banOf(eve.did, eve.device), undefined)
  assert.equal(at.standing.isolated(eve.did), true)
  assert.equal(at.metric('proved'), '1')
  assert.deepEqual(at.published, [], 'what others passed on is passed on by the topic')
})

test('two live messages of one number, prove it too; hybrid ones with both signatures', () => {
  const eve = signing('eve')
  assert.equal(holds(equivocation(eve, eve.live('a'), eve.live('b'))), true)
  const hybrid = signing('zoe', { mldsa: true })
  assert.equal(holds(equivocation(hybrid, hybrid.record('a'), hybrid.record('b'))), true)
  const halves = signing('zoe', { mldsa: true, suite: 'ed25519' })
  assert.equal(holds(equivocation(hybrid, hybrid.record('a'), halves.record('b'))), true, 'the suite is part of what was said')
})

test('what a correct device signs, proves nothing: other numbers, topics, sessions, classes, the same said twice', () => {
  const ann = signing('ann')
  const hybrid = signing('zoe', { mldsa: true })
  const pairs: [string, Signing, Uint8Array, Uint8Array][] = [
    ['the same record twice', ann, ann.record('x'), ann.record('x')],
    ['the same hybrid record signed anew', hybrid, hybrid.record('x'), hybrid.record('x')],
    ['another sequence', ann, ann.record('x'), ann.record('y', { seq: 10 })],
    ['another epoch', ann, ann.record('x'), ann.record('y', { epoch: 4 })],
    ['another topic', ann, ann.record('x'), ann.record('y', { topic: 'other' })],
    ['another session', ann, ann.live('x'), ann.live('y', { session: new Uint8Array(16) })],
    ['another live number', ann, ann.live('x'), ann.live('y', { seq: 5 })],
    ['two classes', ann, ann.live('x'), ann.record('y')],
    ['stored messages', ann, ann.stored('x'), ann.stored('y')],
  ]
  for (const [what, of, one, other] of pairs) assert.equal(holds(equivocation(of, one, other)), false, what)
})

test('evidence that names a victim, does not hold without the victim’s own signatures', () => {
  const [ann, eve] = [signing('ann'), signing('eve')]
  const two = [eve.record('a'), eve.record('b')] as const
  assert.equal(holds(equivocation(eve, ...two, ann.papers)), false, 'papers of the victim, envelopes of the liar')
  const claimed = signing('eve')
  const asAnn = (text: string): Uint8Array => {
    const bytes = Uint8Array.from(claimed.record(text))
    bytes.set(ann.record(text).subarray(3, 35), 3)
    return bytes
  }
  assert.equal(holds(equivocation(eve, asAnn('a'), asAnn('b'))), false, 'the victim’s DID in a body the liar signed')
  const swapped = Uint8Array.from(ann.record('b'))
  swapped[swapped.length - 70] = (swapped[swapped.length - 70] as number) ^ 1
  assert.equal(holds(equivocation(ann, ann.record('a'), swapped)), false, 'a body of the victim, changed')
  const stolen = signing('eve', { identity: testIdentity('ann') })
  const unsigned = Uint8Array.from(stolen.papers.binding)
  unsigned[unsigned.length - 100] = (unsigned[unsigned.length - 100] as number) ^ 1
  assert.equal(holds(equivocation(stolen, stolen.record('a'), stolen.record('b'), { ...stolen.papers, binding: unsigned })), false, 'a binding nobody signed')
})

test('evidence with any byte changed or any part cut off, never holds', async () => {
  const eve = signing('eve')
  const encoded = encodeEvidence(equivocation(eve, eve.record('yes'), eve.record('no')))
  const at = await desk()
  await fc.assert(
    fc.asyncProperty(fc.nat(encoded.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(encoded.length), async (place, flip, length) => {
      const changed = Uint8Array.from(encoded)
      changed[place] = (changed[place] as number) ^ flip
      for (const bytes of [changed, encoded.subarray(0, length === encoded.length ? 0 : length)]) assert.notEqual(await at.desk.take(bytes), 'proved')
      at.clock.advance(1_000)
    }),
    { numRuns: 300 },
  )
  assert.deepEqual(at.standing.list(), [])
  assert.equal(await at.desk.take(encoded), 'proved')
})

test('evidence that comes after the binding has run out, still shows whose device it was', () => {
  const eve = signing('eve')
  const evidence = equivocation(eve, eve.record('yes'), eve.record('no'))
  checkEvidence(evidence, new Uint8Array(0), { now: NOW + 3_650 * DAY })
})

test('evidence told twice, or another of the same device and kind, counts once', async () => {
  const eve = signing('eve')
  const at = await desk()
  const encoded = encodeEvidence(equivocation(eve, eve.record('yes'), eve.record('no')))
  assert.equal(await at.desk.take(encoded), 'proved')
  const until = at.standing.banOf(eve.did, eve.device)?.untilMs
  at.clock.advance(1_000)
  assert.equal(await at.desk.take(encoded), 'known')
  assert.equal(await at.desk.take(encodeEvidence(equivocation(eve, eve.record('1', { seq: 1 }), eve.record('2', { seq: 1 })))), 'known')
  assert.equal(at.standing.banOf(eve.did, eve.device)?.untilMs, until)
  const phone = signing('eve-phone', { identity: eve.identity })
  assert.equal(await at.desk.take(encodeEvidence(equivocation(phone, phone.record('1'), phone.record('2')))), 'proved', 'another device is another proof')
})

test('a device that its identity has revoked, weighs on the identity no longer', async () => {
  const eve = signing('eve')
  const at = await desk()
  at.revoked.add(eve.did)
  assert.equal(await at.desk.take(encodeEvidence(equivocation(eve, eve.record('yes'), eve.record('no')))), 'proved')
  assert.notEqual(at.standing.banOf(eve.did, eve.device), undefined)
  assert.equal(at.standing.isolated(eve.did), false)
})

test('two things this node saw itself, are held against the device and shown to others', async () => {
  const eve = signing('eve')
  const at = await desk()
  assert.equal(await at.desk.found(pair(eve, eve.record('a'), eve.record('b'))), 'invalid', 'without papers nobody knows whose device it is')
  at.papers.set(eve.did, eve.papers)
  assert.equal(await at.desk.found(pair(eve, eve.record('a'), eve.record('b'))), 'proved')
  assert.equal(at.published.length, 1)
  assert.equal(await at.desk.found(pair(eve, eve.record('a'), eve.record('b'))), 'known')
  assert.equal(at.published.length, 1)
  const other = await desk()
  assert.equal(await other.desk.take(at.published[0] as Uint8Array), 'proved')
})

test('two things too large to be shown, are held against the device by those who saw them', async () => {
  const eve = signing('eve')
  const at = await desk()
  at.papers.set(eve.did, eve.papers)
  const large = 'x'.repeat(40_000)
  assert.equal(await at.desk.found(pair(eve, eve.record(`${large}a`), eve.record(`${large}b`))), 'proved')
  assert.deepEqual(at.published, [])
  assert.notEqual(at.standing.banOf(eve.did, eve.device), undefined)
})

test('evidence against this identity itself, changes nothing here', async () => {
  const me = signing('me')
  const at = await desk(me.did)
  assert.equal(await at.desk.take(encodeEvidence(equivocation(me, me.record('a'), me.record('b')))), 'known')
  assert.deepEqual(at.standing.list(), [])
})

test('rubbish in the place of evidence, costs a bounded number of checks', async () => {
  const at = await desk()
  const [ann, eve] = [signing('ann'), signing('eve')]
  const outcomes: string[] = []
  for (let i = 0; i < 100; i++) outcomes.push(await at.desk.take(encodeEvidence(equivocation(eve, eve.record(`a${i}`), eve.record(`b${i}`), ann.papers))))
  assert.equal(outcomes.filter((outcome) => outcome === 'invalid').length, 20)
  assert.equal(outcomes.filter((outcome) => outcome === 'busy').length, 80)
  const again = encodeEvidence(equivocation(eve, eve.record('a0'), eve.record('b0'), ann.papers))
  assert.equal(await at.desk.take(again), 'invalid', 'remembered, not checked again')
  assert.equal(await at.desk.take(new Uint8Array(0)), 'malformed')
  assert.equal(await at.desk.take(new Uint8Array(MAX_PROOF_BYTES + 1)), 'malformed')
  at.clock.advance(1_000)
  assert.equal(await at.desk.take(encodeEvidence(equivocation(eve, eve.record('yes'), eve.record('no')))), 'proved')
})

test('evidence of a later version or kind, is carried and judged by nobody', async () => {
  const at = await desk()
  assert.equal(await at.desk.take(Uint8Array.of(2, 4, 0, 0)), 'unsupported')
  assert.equal(await at.desk.take(Uint8Array.of(1, 200, 0, 0)), 'unsupported')
  const carried = encodeEvidence({ kind: 'conflicting-ledger-entries', body: new Uint8Array(100) })
  assert.equal(await at.desk.take(carried), 'unsupported')
  assert.deepEqual(encodeEvidence(decodeEvidence(carried)), carried)
})

test('two rotations at one index to different keys, prove a fork until a person decides', async () => {
  const [one, other] = forkedHistories()
  const did = (one[0] as ChainEntry).did
  const at = await desk()
  assert.equal(await at.desk.foundFork(one, other), 'proved')
  assert.equal(await at.desk.foundFork(other, one), 'known')
  assert.equal(at.standing.isolated(did), true)
  assert.deepEqual(at.standing.status(did).devices, [])
  assert.equal(at.published.length, 1)
  const elsewhere = await desk()
  assert.equal(await elsewhere.desk.take(at.published[0] as Uint8Array), 'proved')
  await elsewhere.standing.pardon(did, { actor: 'owner', reason: 'it was restored from an old copy' })
  assert.equal(await elsewhere.desk.take(at.published[0] as Uint8Array), 'known')
  assert.equal(elsewhere.standing.isolated(did), false)
})

test('two rotations that open one commitment and promise different keys, prove a fork', async () => {
  const [one, other] = forkedHistories()
  assert.equal(await (await desk()).desk.foundFork(one.slice(0, 2), other.slice(0, 2)), 'proved')
})

test('two histories without two contradicting rotations at their ends, prove no fork', async () => {
  const [one, other] = forkedHistories()
  const at = await desk()
  assert.equal(await at.desk.foundFork(one, one), 'invalid', 'one history told twice')
  assert.equal(await at.desk.foundFork(one, one.slice(0, 2)), 'invalid', 'one that is behind')
  const stranger = testIdentity('ann').chain.entries
  const shapes: [string, readonly ChainEntry[], readonly ChainEntry[]][] = [
    ['two identities', one, stranger],
    ['two lengths', one, other.slice(0, 2)],
    ['no inception', one.slice(1), other.slice(1)],
    ['a history with a gap', one, [one[0] as ChainEntry, other[2] as ChainEntry]],
    ['the tail of the other', one, [...one.slice(0, 2), other[2] as ChainEntry]],
  ]
  for (const [what, a, b] of shapes) {
    const [first, second] = [encodeChain(a), encodeChain(b)]
    assert.equal(holds({ kind: 'chain-fork', first, second }) || holds({ kind: 'chain-fork', first: second, second: first }), false, what)
  }
})

conformance('evidence', (g) =>
  encodeEvidence(
    g.bool()
      ? { kind: 'equivocation', binding: g.bytesUpTo(9_000), chain: g.bytesUpTo(9_000), first: g.bytesUpTo(9_000), second: g.bytesUpTo(9_000) }
      : { kind: 'chain-fork', first: g.bytesUpTo(20_000), second: g.bytesUpTo(20_000) },
  ),
)
