import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { type PublicKey, toHex, utf8 } from '../../src/core/bytes.ts'
import { type ManualClock, manualClock } from '../../src/core/clock.ts'
import { publicKeyOfSeed } from '../../src/core/crypto/ed25519.ts'
import { sha256 } from '../../src/core/crypto/hash.ts'
import { type Audit, createAudit } from '../../src/core/observe/audit.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { createMetrics, type MetricsRegistry } from '../../src/core/observe/metrics.ts'
import { Secret } from '../../src/core/secret.ts'
import { createMemoryStore } from '../../src/core/store/memory.ts'
import type { Store } from '../../src/core/store/types.ts'
import { type Did, formatDid } from '../../src/identity/did.ts'
import type { LinkViolation } from '../../src/mesh/types.ts'
import { openStanding } from '../../src/trust/standing.ts'
import { STANDING_NS, standingCodec, standingKey, VIOLATION_NS } from '../../src/trust/standing-codec.ts'
import type { Standing, StandingComponents } from '../../src/trust/standing-types.ts'
import { banLength, clipEvidence, recovered, STANDING_RULES, standingRules, VIOLATION_KINDS } from '../../src/trust/violations.ts'
import { conformanceOfCodec } from '../conformance.ts'

const NOW = 1_800_000_000_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

function key(name: string): PublicKey {
  return publicKeyOfSeed(Secret.take(createHash('sha256').update(name).digest()))
}
const did = (name: string): Did => formatDid(key(`did ${name}`))
const [ME, EVE, BOB] = [did('me'), did('eve'), did('bob')]
const [LAPTOP, PHONE] = [key('laptop'), key('phone')]
const OWNER = { actor: 'owner', reason: 'I know them' }

interface Place {
  readonly store: Store
  readonly clock: ManualClock
  readonly audit: Audit
  readonly metrics: MetricsRegistry
  standing: Standing
  open(changes?: Partial<StandingComponents>): Promise<Standing>
}

async function place(changes: Partial<StandingComponents> = {}): Promise<Place> {
  const store = changes.store ?? createMemoryStore()
  const clock = manualClock(NOW)
  const audit = createAudit({ store, clock })
  const metrics = createMetrics()
  const open = (more: Partial<StandingComponents> = {}): Promise<Standing> =>
    openStanding({ store, clock, audit, metrics, logger: silentLogger, own: ME, ...changes, ...more })
  return { store, clock, audit, metrics, standing: await open(), open }
}

function violate({ standing }: Place, kind: LinkViolation = 'malformed-frame', times = 1, peer: Did = EVE, device: PublicKey = LAPTOP): void {
  for (let i = 0; i < times; i++) standing.report({ peer, device, kind, protocol: 'icn/msg/1', evidence: utf8(`${kind} ${i}`) })
}

function metric({ metrics }: Place, line: string): number {
  const found = metrics
    .render()
    .split('\n')
    .find((text) => text.startsWith(`${line} `))
  return Number(found?.slice(line.length + 1) ?? Number.NaN)
}

test('standing of a peer never heard of, is full and good', async () => {
  const { standing } = await place()
  assert.equal(standing.reputationOf(EVE), 10_000)
  assert.deepEqual(standing.status(EVE), { did: EVE, reputation: 10_000, state: 'good', untilMs: undefined, devices: [], violations: [] })
  assert.equal(standing.banOf(EVE, LAPTOP), undefined)
  assert.equal(standing.isolated(EVE), false)
  assert.deepEqual(standing.list(), [])
})

test('violations, major and minor, cost a quarter and a twentieth', async () => {
  const at = await place()
  violate(at)
  assert.equal(at.standing.reputationOf(EVE), 7_500)
  violate(at, 'invalid-signature', 1, BOB)
  assert.equal(at.standing.reputationOf(BOB), 7_500)
  violate(at, 'protocol-state', 1, BOB)
  assert.equal(at.standing.reputationOf(BOB), 5_000)
  assert.equal(at.standing.isolated(BOB), false, 'exactly on the boundary is not below it')
  assert.deepEqual(
    at.standing.status(EVE).violations.map(({ kind, weight }) => [kind, weight]),
    [['malformed-frame', 5]],
  )
  assert.equal(metric(at, 'kith_violations_total{kind="protocol-state"}'), 1)
})

test('a peer below half, is in quarantine until it has recovered to six tenths', async () => {
  const at = await place()
  const changes: Did[] = []
  at.standing.onChange((peer) => changes.push(peer))
  violate(at, 'malformed-frame', 3)
  assert.equal(at.standing.reputationOf(EVE), 2_500)
  assert.equal(at.standing.isolated(EVE), true)
  assert.equal(at.standing.status(EVE).state, 'quarantined')
  assert.deepEqual(changes, [EVE])
  assert.equal(metric(at, 'kith_quarantined_peers'), 1)
  // 100 an hour: 3,500 are missing.
  await at.clock.run(35 * HOUR - MINUTE)
  assert.equal(at.standing.isolated(EVE), true)
  await at.clock.run(2 * MINUTE)
  assert.equal(at.standing.isolated(EVE), false)
  assert.deepEqual(changes, [EVE, EVE])
  assert.equal(metric(at, 'kith_quarantined_peers'), 0)
  const rows = await at.audit.list()
  assert.deepEqual(
    rows.map(({ actor, action, subject }) => [actor, action, subject]),
    [
      ['node', 'release', EVE],
      ['node', 'quarantine', EVE],
    ],
  )
})

test('recovery, asked for often, by sweeps or after a restart, is counted once', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 2)
  for (let i = 0; i < 600; i++) {
    await at.clock.run(MINUTE)
    at.standing.reputationOf(EVE)
    at.standing.status(EVE)
  }
  assert.equal(at.standing.reputationOf(EVE), 6_000)
  await at.standing.close()
  const again = await at.open()
  assert.equal(again.reputationOf(EVE), 6_000)
  await again.close()
  await (await at.open()).close()
  assert.equal((await at.open()).reputationOf(EVE), 6_000)
})

test('recovery, in any steps, gives the same as in one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 9_999 }),
      fc.array(fc.integer({ min: 0, max: 3 * HOUR }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 2_000 }),
      (value, steps, recoveryPerHour) => {
        const rules = { recoveryPerHour }
        let stepped = { value, atMs: NOW }
        let now = NOW
        for (const step of steps) {
          now += step
          stepped = recovered(stepped, now, rules)
        }
        const whole = recovered({ value, atMs: NOW }, now, rules)
        // A step is paid out from the next whole millisecond, so all of them together may be one basis point behind, never ahead.
        assert.ok(stepped.value === whole.value || stepped.value === whole.value - 1)
        // A clock that is set back and forward again pays nothing twice.
        const back = recovered(recovered(stepped, now - DAY, rules), now, rules)
        assert.equal(back.value, stepped.value)
      },
    ),
  )
})

test('a device at nothing left, is banned for an hour, then twice as long each time, at most 30 days', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 4)
  assert.equal(at.standing.reputationOf(EVE), 0)
  assert.equal(at.standing.banOf(EVE, LAPTOP)?.untilMs, NOW + HOUR)
  assert.equal(at.standing.banOfPeer(EVE), undefined)
  assert.equal(at.standing.status(EVE).state, 'banned')
  assert.equal(metric(at, 'kith_banned_devices'), 1)
  await at.clock.run(HOUR)
  assert.equal(at.standing.banOf(EVE, LAPTOP), undefined)
  assert.equal(at.standing.status(EVE).state, 'quarantined', 'it recovers from nothing')
  violate(at)
  assert.equal(at.standing.banOf(EVE, LAPTOP)?.untilMs, NOW + 3 * HOUR)
  assert.deepEqual(
    [1, 2, 3, 10, 11, 100].map((count) => banLength(count, STANDING_RULES) / HOUR),
    [1, 2, 4, 512, 720, 720],
  )
})

test('a banned peer, does not recover while the ban lasts', async () => {
  const at = await place({ rules: { banMs: 10 * HOUR } })
  violate(at, 'malformed-frame', 4)
  await at.clock.run(10 * HOUR - 1)
  assert.equal(at.standing.reputationOf(EVE), 0)
  await at.clock.run(2 * HOUR + 1)
  assert.equal(at.standing.reputationOf(EVE), 200)
})

test('a burst that goes on after the ban began, does not make it longer', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 10_000)
  assert.equal(at.standing.banOf(EVE, LAPTOP)?.untilMs, NOW + HOUR)
  assert.equal(at.standing.status(EVE).violations.length, 4)
  assert.equal(metric(at, 'kith_violations_unheld_total{reason="banned"}'), 9_996)
  assert.equal(metric(at, 'kith_violations_total{kind="malformed-frame"}'), 10_000)
})

test('10,000 forged messages that name a victim, cost the device that carried them and nobody else', async () => {
  const at = await place()
  const victim = BOB
  for (let i = 0; i < 10_000; i++) {
    at.standing.report({ peer: EVE, device: LAPTOP, kind: 'invalid-signature', protocol: 'icn/msg/1', evidence: utf8(`from ${victim} number ${i}`) })
  }
  assert.equal(at.standing.reputationOf(victim), 10_000)
  assert.equal(at.standing.status(victim).state, 'good')
  assert.equal(at.standing.banOf(victim, PHONE), undefined)
  assert.notEqual(at.standing.banOf(EVE, LAPTOP), undefined)
})

test('a banned device, comes back under another identity, is still banned; the other devices of the first are not', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 4)
  assert.notEqual(at.standing.banOf(BOB, LAPTOP), undefined)
  assert.equal(at.standing.banOf(EVE, PHONE), undefined)
  assert.equal(at.standing.isolated(EVE), true)
})

test('an identity that makes a device for every ban, is banned as a whole', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 3)
  for (let i = 0; i < 17; i++) violate(at, 'malformed-frame', 1, EVE, key(`device ${i}`))
  assert.notEqual(at.standing.banOfPeer(EVE), undefined)
  assert.notEqual(at.standing.banOf(EVE, key('a fresh one')), undefined)
  assert.equal(at.standing.status(EVE).devices.length, 16)
  assert.equal(metric(at, 'kith_banned_peers'), 1)
})

test('a hard limit, counts only when it is broken again after a warning was given time', async () => {
  const at = await place()
  violate(at, 'hard-limit', 500)
  assert.equal(at.standing.reputationOf(EVE), 10_000)
  assert.deepEqual(at.standing.list(), [])
  await at.clock.run(29_000)
  violate(at, 'hard-limit', 500)
  assert.equal(at.standing.reputationOf(EVE), 10_000, 'what was under way when it was warned')
  await at.clock.run(2_000)
  violate(at, 'hard-limit', 500)
  assert.equal(at.standing.reputationOf(EVE), 9_500)
  await at.clock.run(2 * HOUR)
  violate(at, 'hard-limit', 1)
  assert.equal(at.standing.reputationOf(EVE), 9_500 + 200, 'an old warning is forgotten')
  assert.equal(metric(at, 'kith_violations_unheld_total{reason="warned"}'), 500 + 500 + 499 + 1)
})

test('replay, lateness, clocks, refusals and slowness, are not kinds of violations', () => {
  assert.deepEqual(VIOLATION_KINDS, [
    'malformed-frame',
    'invalid-signature',
    'protocol-state',
    'hard-limit',
    'equivocation',
    'chain-fork',
    'conflicting-ledger-entries',
  ])
})

test('the own identity, is never held to anything', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 10, ME)
  assert.equal(at.standing.reputationOf(ME), 10_000)
  assert.equal(at.standing.prove({ did: ME, device: LAPTOP, kind: 'equivocation', hash: new Uint8Array(32) }), false)
  assert.equal(at.standing.isolated(ME), false)
  await assert.rejects(at.standing.ban(ME, OWNER), TypeError)
  assert.equal(metric(at, 'kith_violations_unheld_total{reason="own"}'), 11)
})

test('standing, after a restart, still has bans, quarantines, history and evidence', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 4)
  violate(at, 'invalid-signature', 3, BOB, PHONE)
  const before = [at.standing.status(EVE), at.standing.status(BOB)]
  await at.standing.close()
  const again = await at.open()
  assert.deepEqual([again.status(EVE), again.status(BOB)], before)
  assert.equal(again.banOf(EVE, LAPTOP)?.untilMs, NOW + HOUR)
  assert.equal(again.isolated(BOB), true)
  assert.deepEqual(Buffer.from((await again.evidenceOf(BOB, 0)) ?? []).toString(), 'invalid-signature 2')
  await at.clock.run(HOUR + MINUTE)
  assert.equal(again.banOf(EVE, LAPTOP), undefined)
})

test('standing, cut off before its writes were collected, opens as it was before', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 1)
  await at.clock.run(1_000)
  violate(at, 'malformed-frame', 3)
  assert.equal(at.standing.status(EVE).state, 'banned')
  const again = await at.open()
  assert.equal(again.status(EVE).reputation, 7_500)
  assert.equal(again.banOf(EVE, LAPTOP), undefined)
})

test('an act of the owner, cut off right after it resolved, is in the log and in force', async () => {
  const at = await place()
  await at.standing.ban(EVE, { ...OWNER, device: LAPTOP, durationMs: 2 * HOUR })
  const again = await at.open()
  assert.equal(again.banOf(EVE, LAPTOP)?.untilMs, NOW + 2 * HOUR)
  const [row] = await createAudit({ store: at.store, clock: at.clock }).list()
  assert.deepEqual(
    { actor: row?.actor, action: row?.action, subject: row?.subject, reason: row?.reason, device: row?.details?.device },
    { actor: 'owner', action: 'ban', subject: EVE, reason: 'I know them', device: toHex(LAPTOP) },
  )
})

test('an act of the owner that cannot be recorded, is not done', async () => {
  const at = await place()
  const failing: Audit = { ...at.audit, append: () => Promise.reject(new Error('no disk')) }
  const standing = await at.open({ audit: failing })
  await assert.rejects(standing.ban(EVE, OWNER), /no disk/)
  assert.equal(standing.banOf(EVE, LAPTOP), undefined)
})

test('a damaged record of standing, is left out with a warning, and the others are read', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 4)
  violate(at, 'malformed-frame', 4, BOB, PHONE)
  await at.standing.close()
  await at.store.put(STANDING_NS, standingKey(EVE), utf8('rubbish'))
  await at.store.put(STANDING_NS, utf8('not a key'), utf8('rubbish'))
  await at.store.put(VIOLATION_NS, utf8('not a number'), utf8('rubbish'))
  const warned: string[] = []
  const logger = { ...silentLogger, warn: (event: string) => void warned.push(event) }
  const again = await at.open({ logger })
  assert.equal(again.status(EVE).state, 'good')
  assert.equal(again.status(BOB).state, 'banned')
  assert.deepEqual(warned, ['a record of standing is damaged and was left out', 'a record of standing is damaged and was left out'])
})

test('unban by the owner, ends the ban at once, goes on from six tenths, and is recorded', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 4)
  const changes: Did[] = []
  at.standing.onChange((peer) => changes.push(peer))
  const status = await at.standing.unban(EVE, OWNER)
  assert.deepEqual([status.state, status.reputation], ['good', 6_000])
  assert.equal(at.standing.banOf(EVE, LAPTOP), undefined)
  assert.deepEqual(changes, [EVE])
  assert.equal(status.violations.length, 4, 'the history stays')
  assert.equal((await at.audit.list())[0]?.action, 'unban')
  await assert.rejects(at.standing.unban(EVE, OWNER), { code: 'NOT_FOUND' })
  violate(at, 'malformed-frame', 3)
  assert.equal(at.standing.banOf(EVE, LAPTOP)?.untilMs, NOW + 2 * HOUR, 'the next ban is the second')
})

test('unban of one device, leaves the ban of another', async () => {
  const at = await place()
  await at.standing.ban(EVE, { ...OWNER, device: LAPTOP })
  await at.standing.ban(EVE, { ...OWNER, device: PHONE })
  await at.standing.unban(EVE, { ...OWNER, device: LAPTOP })
  assert.equal(at.standing.banOf(EVE, LAPTOP), undefined)
  assert.notEqual(at.standing.banOf(EVE, PHONE), undefined)
  await assert.rejects(at.standing.unban(EVE, { ...OWNER, device: LAPTOP }), { code: 'NOT_FOUND' })
})

test('pardon by the owner, forgets history and proofs, and the same proof does not come back', async () => {
  const at = await place()
  const proof = { did: EVE, device: LAPTOP, kind: 'equivocation', hash: new Uint8Array(32) } as const
  violate(at, 'malformed-frame', 3)
  assert.equal(at.standing.prove(proof), true)
  assert.equal(at.standing.banOf(EVE, LAPTOP)?.untilMs, NOW + 30 * DAY)
  const status = await at.standing.pardon(EVE, OWNER)
  assert.deepEqual([status.state, status.reputation, status.violations], ['good', 6_000, []])
  assert.equal(at.standing.isolated(EVE), false)
  assert.equal(at.standing.prove(proof), false)
  assert.equal(at.standing.banOf(EVE, LAPTOP), undefined)
  assert.equal(await at.standing.evidenceOf(EVE, 0), undefined)
  await assert.rejects(at.standing.pardon(BOB, OWNER), { code: 'NOT_FOUND' })
})

test('an owner’s quarantine, lasts until the owner releases it', async () => {
  const at = await place()
  await at.standing.quarantine(EVE, OWNER)
  assert.equal(at.standing.isolated(EVE), true)
  assert.equal(at.standing.banOf(EVE, LAPTOP), undefined)
  await at.clock.run(90 * DAY)
  assert.equal(at.standing.isolated(EVE), true)
  const status = await at.standing.release(EVE, OWNER)
  assert.equal(status.state, 'good')
  await assert.rejects(at.standing.release(EVE, OWNER), { code: 'NOT_FOUND' })
})

test('an act of the owner without a name, a reason or a sane length, is refused', async () => {
  const { standing } = await place()
  await assert.rejects(standing.ban(EVE, { actor: ' ', reason: 'x' }), TypeError)
  await assert.rejects(standing.ban(EVE, { actor: 'owner', reason: ' ' }), TypeError)
  await assert.rejects(standing.ban(EVE, { actor: 'owner', reason: 'x'.repeat(257) }), TypeError)
  for (const durationMs of [0, 1.5, -1, 30 * DAY + 1]) await assert.rejects(standing.ban(EVE, { ...OWNER, durationMs }), TypeError)
  assert.deepEqual(standing.list(), [])
})

test('proof against a device, bans it for 30 days and isolates its identity until that revokes it', async () => {
  const at = await place()
  assert.equal(at.standing.prove({ did: EVE, device: LAPTOP, kind: 'equivocation', hash: sha256(utf8('a')) }), true)
  assert.equal(at.standing.prove({ did: EVE, device: LAPTOP, kind: 'equivocation', hash: sha256(utf8('b')) }), false, 'one per device and kind')
  assert.equal(at.standing.reputationOf(EVE), 10_000)
  assert.equal(at.standing.banOf(EVE, PHONE), undefined)
  assert.equal(at.standing.isolated(EVE), true)
  await at.clock.run(31 * DAY)
  assert.equal(at.standing.banOf(EVE, LAPTOP), undefined)
  assert.equal(at.standing.isolated(EVE), true)
  at.standing.deviceRevoked(EVE, PHONE)
  assert.equal(at.standing.isolated(EVE), true)
  at.standing.deviceRevoked(EVE, LAPTOP)
  assert.equal(at.standing.isolated(EVE), false)
  await at.standing.close()
  assert.equal((await at.open()).isolated(EVE), false)
})

test('proof of two histories of an identity, isolates it until it is pardoned', async () => {
  const at = await place()
  assert.equal(at.standing.prove({ did: EVE, device: undefined, kind: 'chain-fork', hash: new Uint8Array(32) }), true)
  assert.equal(at.standing.prove({ did: EVE, device: undefined, kind: 'chain-fork', hash: new Uint8Array(32) }), false)
  assert.equal(at.standing.isolated(EVE), true)
  assert.equal(at.standing.status(EVE).devices.length, 0)
  await at.standing.pardon(EVE, OWNER)
  assert.equal(at.standing.isolated(EVE), false)
})

test('evidence of a violation, too long, is cut and ends in the digest of the whole', async () => {
  const at = await place()
  const whole = new Uint8Array(200_000).fill(7)
  at.standing.report({ peer: EVE, device: LAPTOP, kind: 'malformed-frame', protocol: 'icn/msg/1', evidence: whole })
  const kept = (await at.standing.evidenceOf(EVE, 0)) as Uint8Array
  assert.equal(kept.length, 65_536)
  assert.ok(
    Buffer.from(kept)
      .toString('latin1')
      .endsWith(`\n[TRUNCATED:sha256=${toHex(sha256(whole))}]`),
  )
  assert.equal(metric(at, 'kith_evidence_clipped_total'), 1)
  assert.equal(clipEvidence(new Uint8Array(65_536)).clipped, false)
})

test('history of a peer, keeps a hundred violations of seven days', async () => {
  const at = await place({ rules: { weights: { 'malformed-frame': 0 } } })
  violate(at, 'malformed-frame', 150)
  assert.equal(at.standing.status(EVE).violations.length, 100)
  assert.deepEqual(Buffer.from((await at.standing.evidenceOf(EVE, 99)) ?? []).toString(), 'malformed-frame 50')
  let kept = 0
  await at.clock.run(1_000)
  for await (const _ of at.store.scan(VIOLATION_NS)) kept++
  assert.equal(kept, 100)
  await at.clock.run(7 * DAY + 2 * HOUR)
  assert.deepEqual(at.standing.list(), [], 'nothing is left of it')
  await at.clock.run(1_000)
  for await (const _ of at.store.scan(VIOLATION_NS)) assert.fail('evidence of forgotten violations')
  for await (const _ of at.store.scan(STANDING_NS)) assert.fail('a record of nothing')
})

test('evidence of all violations, beyond its bytes, loses the oldest first', async () => {
  const at = await place({ rules: { evidenceBytes: 10_000 } })
  for (let i = 0; i < 5; i++) {
    at.standing.report({ peer: did(`peer ${i}`), device: LAPTOP, kind: 'malformed-frame', protocol: 'x', evidence: new Uint8Array(3_000).fill(i + 1) })
  }
  const left = await Promise.all([0, 1, 2, 3, 4].map(async (i) => (await at.standing.evidenceOf(did(`peer ${i}`), 0))?.[0]))
  assert.deepEqual(left, [undefined, undefined, 3, 4, 5])
  assert.equal(metric(at, 'kith_violation_evidence_bytes'), 9_000)
  await at.standing.close()
  const again = await at.open()
  again.report({ peer: EVE, device: LAPTOP, kind: 'malformed-frame', protocol: 'x', evidence: new Uint8Array(3_000).fill(9) })
  assert.equal(await again.evidenceOf(did('peer 2'), 0), undefined)
  assert.equal((await again.evidenceOf(EVE, 0))?.[0], 9)
})

test('strangers without number, are forgotten the quiet ones first, and never the known, the decided or the banned', async () => {
  const known = new Set<Did>([did('friend')])
  const at = await place({ rules: { tracked: 10 }, kept: (peer) => known.has(peer) })
  violate(at, 'malformed-frame', 1, did('friend'), key('f'))
  violate(at, 'malformed-frame', 4, did('banned'), key('b'))
  await at.standing.quarantine(did('decided'), OWNER)
  for (let i = 0; i < 1_000; i++) violate(at, 'malformed-frame', 1, did(`stranger ${i}`), key(`s ${i}`))
  assert.equal(at.standing.list().length, 10)
  assert.equal(at.standing.reputationOf(did('friend')), 7_500)
  assert.equal(at.standing.status(did('banned')).state, 'banned')
  assert.equal(at.standing.isolated(did('decided')), true)
  assert.equal(at.standing.reputationOf(did('stranger 999')), 7_500)
  assert.equal(at.standing.reputationOf(did('stranger 0')), 10_000)
})

test('a table full of running bans, forgets none of them for a stranger, and still takes in whom the owner knows', async () => {
  const at = await place({ rules: { tracked: 20 }, kept: (peer) => peer === did('friend') })
  for (let i = 0; i < 20; i++) violate(at, 'malformed-frame', 4, did(`banned ${i}`), key(`b ${i}`))
  violate(at, 'malformed-frame', 4, did('newcomer'), key('n'))
  assert.equal(at.standing.status(did('newcomer')).state, 'good')
  assert.equal(metric(at, 'kith_violations_unheld_total{reason="full"}'), 4)
  for (let i = 0; i < 20; i++) assert.notEqual(at.standing.banOf(did(`banned ${i}`), key(`b ${i}`)), undefined)
  violate(at, 'malformed-frame', 1, did('friend'), key('f'))
  assert.equal(at.standing.reputationOf(did('friend')), 7_500)
  await at.standing.ban(did('newcomer'), OWNER)
  assert.equal(at.standing.status(did('newcomer')).state, 'banned')
})

test('evidence against peers never met, has its own bound and pushes nobody else out', async () => {
  const at = await place({ rules: { tracked: 10, told: 3 } })
  for (let i = 0; i < 5; i++) violate(at, 'malformed-frame', 1, did(`met ${i}`), key(`m ${i}`))
  for (let i = 0; i < 100; i++) at.standing.prove({ did: did(`told ${i}`), device: key(`t ${i}`), kind: 'equivocation', hash: new Uint8Array(32) })
  assert.equal(at.standing.list().length, 8)
  for (let i = 0; i < 5; i++) assert.equal(at.standing.reputationOf(did(`met ${i}`)), 7_500)
  assert.notEqual(at.standing.banOf(did('told 99'), key('t 99')), undefined)
  assert.equal(at.standing.banOf(did('told 0'), key('t 0')), undefined)
})

test('a listener that throws, does not break standing', async () => {
  const at = await place()
  const heard: Did[] = []
  at.standing.onChange(() => {
    throw new Error('a defect elsewhere')
  })
  const stop = at.standing.onChange((peer) => heard.push(peer))
  violate(at, 'malformed-frame', 4)
  assert.ok(heard.length > 0)
  const before = heard.length
  stop()
  await at.standing.unban(EVE, OWNER)
  assert.equal(heard.length, before)
})

test('bans of strangers without number, leave the owner’s rows in the audit log', async () => {
  const at = await place()
  await at.standing.ban(EVE, OWNER)
  for (let i = 0; i < 500; i++) violate(at, 'malformed-frame', 4, did(`stranger ${i}`), key(`s ${i}`))
  await at.clock.run(HOUR)
  violate(at, 'malformed-frame', 4, BOB, PHONE)
  await at.standing.close()
  const rows = await at.audit.list({ limit: 1_000 })
  assert.ok(rows.length < 250, `${rows.length} rows`)
  assert.ok(rows.some(({ actor, action, subject }) => actor === 'owner' && action === 'ban' && subject === EVE))
  assert.ok(rows.some(({ details }) => Number(details?.not_recorded) > 800))
  assert.equal((await at.audit.verify()).brokenAt, undefined)
})

test('a ban set by a clock far ahead, ends at most 30 days after the clock was mended', async () => {
  const store = createMemoryStore()
  const ahead = await place({ store })
  await ahead.clock.run(0)
  const clock = manualClock(NOW + 3_650 * DAY)
  const wrong = await ahead.open({ clock })
  wrong.report({ peer: EVE, device: LAPTOP, kind: 'malformed-frame', protocol: 'x' })
  for (let i = 0; i < 3; i++) wrong.report({ peer: EVE, device: LAPTOP, kind: 'malformed-frame', protocol: 'x' })
  await wrong.close()
  const mended = await ahead.open()
  assert.equal(mended.banOf(EVE, LAPTOP)?.untilMs, NOW + 30 * DAY)
})

test('standing rules, out of range, are refused by name', () => {
  assert.throws(() => standingRules({ penalty: 0 }), /standing.penalty/)
  assert.throws(() => standingRules({ recoveryPerHour: 1.5 }), /standing.recoveryPerHour/)
  assert.throws(() => standingRules({ weights: { 'hard-limit': 21 } }), /standing.weights.hard-limit/)
  assert.throws(() => standingRules({ releaseAt: 4_000 }), /standing.releaseAt/)
  assert.throws(() => standingRules({ banMs: 31 * DAY }), /standing.banMs/)
})

test('standing rules, changed while running, count at once', async () => {
  const at = await place()
  violate(at, 'malformed-frame', 3)
  assert.equal(at.standing.isolated(EVE), true)
  at.standing.configure({ quarantineBelow: 1_000, releaseAt: 2_000 })
  assert.equal(at.standing.isolated(EVE), false)
  assert.throws(() => at.standing.configure({ banMs: 0 }), TypeError)
})

conformanceOfCodec('standing record', standingCodec, (g) => ({
  _version: undefined,
  reputation: g.integer(10_001),
  atMs: g.integer(2 ** 53),
  flags: { quarantined: g.bool(), held: g.bool(), told: g.bool(), decided: g.bool() },
  bans: g.integer(0x1_0000),
  lastMs: g.integer(2 ** 53),
  ban: g.option(() => ({ untilMs: g.integer(2 ** 53), reason: g.text(256) })),
  devices: g.list(16, () => ({ device: g.pick([LAPTOP, PHONE]), ban: { untilMs: g.integer(2 ** 53), reason: g.text(256) } })),
  proofs: g.list(32, () => ({
    kind: g.pick(VIOLATION_KINDS),
    device: g.option(() => g.pick([LAPTOP, PHONE])),
    hash: g.bytes(32),
    timeMs: g.integer(2 ** 53),
    pardoned: g.bool(),
    revoked: g.bool(),
  })),
  violations: g.list(100, () => ({
    kind: g.pick(VIOLATION_KINDS),
    weight: g.integer(256),
    timeMs: g.integer(2 ** 53),
    device: g.pick([LAPTOP, PHONE]),
    evidence: g.integer(2 ** 53),
    protocol: g.text(64),
  })),
}))
