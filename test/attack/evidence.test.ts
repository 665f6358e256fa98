import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Background } from '../../src/assembly/background.ts'
import { TopicIntake } from '../../src/assembly/topic-intake.ts'
import { manualClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { GossipEntry } from '../../src/gossip/types.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import type { Did } from '../../src/identity/did.ts'
import type { ChainState } from '../../src/identity/types.ts'
import { encodeEvidence } from '../../src/trust/evidence.ts'
import { EvidenceDesk } from '../../src/trust/evidence-desk.ts'
import { openStanding } from '../../src/trust/standing.ts'
import type { Standing } from '../../src/trust/standing-types.ts'
import { NOW, recoveredIdentity, rotateIdentity, type TestIdentity, testIdentity } from '../mesh/fixtures.ts'
import { pair, signing } from '../trust/evidence-support.ts'

/** A thief of keys that their owner has long replaced wants the owner frozen by everybody, with evidence that only looks as if it proved itself. */

const DAY = 86_400_000

interface Judge {
  readonly desk: EvidenceDesk
  readonly standing: Standing
  /** What it knows of identities. */
  readonly chains: Map<Did, ChainState>
}

async function judge(): Promise<Judge> {
  const clock = manualClock(NOW)
  const standing = await openStanding({ store: createMemoryStore(), clock, logger: silentLogger, own: testIdentity('me').chain.did })
  const chains = new Map<Did, ChainState>()
  const desk = new EvidenceDesk({
    standing,
    clock,
    logger: silentLogger,
    papers: async () => undefined,
    revoked: async () => false,
    history: async (did) => chains.get(did),
  })
  return { desk, standing, chains }
}

/** What a thief of the keys that `identity` has now can sign with a device of its own. */
function evidenceBy(identity: TestIdentity, device = 'thief'): Uint8Array {
  const thief = signing(device, { identity })
  const [first, second] = pair(thief, thief.record('yes'), thief.record('no')).proof
  return encodeEvidence({ kind: 'equivocation', binding: thief.papers.binding, chain: thief.papers.chain, first, second })
}

test('two histories that part at a recovery, prove nothing against the identity that was recovered', async () => {
  const trustee = testIdentity('tia')
  const policy = { threshold: 1, override: 0, delayS: 86_400, trustees: [trustee.chain.did] }
  const now = NOW - 40 * DAY
  const stolen = testIdentity('ann', { policy, now })
  const owner = recoveredIdentity(stolen, trustee, NOW - 30 * DAY)
  // The thief has the phrase: two rotations of its own, which nobody adopts any more. The owner rotates once after the recovery, as anybody does.
  rotateIdentity(stolen, { reason: 'lost', now: now + 1 })
  rotateIdentity(stolen, { reason: 'lost', now: now + 2 })
  rotateIdentity(owner, { reason: 'lost', now: NOW - 10 * DAY })
  assert.equal(stolen.chain.index, owner.chain.index)
  const [first, second] = [stolen.chain, owner.chain].sort((a, b) => Buffer.compare(a.head, b.head)).map(({ entries }) => encodeChain(entries))
  const at = await judge()
  assert.equal(await at.desk.take(encodeEvidence({ kind: 'chain-fork', first: first as Uint8Array, second: second as Uint8Array })), 'invalid')
  assert.equal(await at.desk.foundFork(owner.chain.entries, stolen.chain.entries), 'invalid')
  assert.equal(at.standing.isolated(owner.chain.did), false)
})

test('a machine made with keys that were replaced as compromised, weighs on nobody who knows that they were', async () => {
  const identity = testIdentity('ann')
  const evidence = evidenceBy({ ...identity })
  rotateIdentity(identity, { reason: 'compromised', now: NOW - DAY })
  const at = await judge()
  at.chains.set(identity.chain.did, identity.chain)
  assert.equal(await at.desk.take(evidence), 'invalid')
  assert.deepEqual(at.standing.list(), [])
})

test('a machine made with compromised keys, weighs on their owner only until the owner’s history is known', async () => {
  const identity = testIdentity('ann')
  const evidence = evidenceBy({ ...identity })
  rotateIdentity(identity, { reason: 'compromised', now: NOW - DAY })
  const at = await judge()
  assert.equal(await at.desk.take(evidence), 'proved')
  assert.equal(at.standing.isolated(identity.chain.did), true)
  at.chains.set(identity.chain.did, identity.chain)
  assert.equal(await at.desk.take(evidence), 'known')
  assert.equal(at.standing.isolated(identity.chain.did), false)
  assert.equal(await at.desk.take(evidence), 'invalid')
  assert.deepEqual(at.standing.status(identity.chain.did).devices.length, 1, 'the key stays banned')
})

test('other evidence about a machine that contradicted itself, takes nothing back', async () => {
  const identity = testIdentity('eve')
  const at = await judge()
  assert.equal(await at.desk.take(evidenceBy(identity, 'laptop')), 'proved')
  at.chains.set(identity.chain.did, identity.chain)
  // The same machine under a history of its own making, as only its owner can write it.
  const branch = { ...identity }
  rotateIdentity(branch, { reason: 'lost', branch: 'other' })
  assert.equal(await at.desk.take(evidenceBy(branch, 'laptop')), 'known')
  const foreign = testIdentity('eve', { now: NOW - 2 * DAY })
  assert.equal(await at.desk.take(evidenceBy(foreign, 'laptop')), 'known')
  assert.equal(at.standing.isolated(identity.chain.did), true)
})

test('evidence against many machines, bans each of them and never the identity', async () => {
  const identity = testIdentity('ann')
  const at = await judge()
  for (let i = 0; i < 18; i++) assert.equal(await at.desk.take(evidenceBy(identity, `thief ${i}`)), 'proved')
  assert.equal(at.standing.banOfPeer(identity.chain.did), undefined)
  assert.equal(at.standing.isolated(identity.chain.did), true)
})

test('a flood of rubbish on the topic of evidence, hides nothing that is among it', async () => {
  const clock = manualClock(NOW)
  const standing = await openStanding({ store: createMemoryStore(), clock, logger: silentLogger, own: testIdentity('me').chain.did })
  const desk = new EvidenceDesk({ standing, clock, logger: silentLogger, papers: async () => undefined, revoked: async () => false })
  const [ann, eve] = [signing('ann'), signing('eve')]
  const rubbish = (i: number): Uint8Array => {
    const [first, second] = pair(ann, ann.record('a', { seq: i }), ann.record('b', { seq: i })).proof
    return encodeEvidence({ kind: 'equivocation', binding: eve.papers.binding, chain: eve.papers.chain, first, second })
  }
  const all = [...Array.from({ length: 60 }, (_, i) => rubbish(i + 1)), evidenceBy(eve.identity, 'eve')]
  const background = new Background(silentLogger)
  const intake = new TopicIntake({
    gossip: {
      listen: (_topic, told) => {
        for (const data of all) told({ id: data, data } as unknown as GossipEntry)
        return () => undefined
      },
      entries: async () => [],
    },
    topic: 'trust:evidence',
    clock,
    background,
    failure: 'test',
    take: async ({ data }) => ((await desk.take(data)) === 'busy' ? 'busy' : 'done'),
  })
  intake.start()
  for (let i = 0; i < 40; i++) await clock.run(250)
  assert.equal(standing.isolated(eve.did), true)
  intake.close()
  await background.close()
})
