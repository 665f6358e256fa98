import assert from 'node:assert/strict'
import { utf8 } from '../../../src/core/bytes.ts'
import { manualClock } from '../../../src/core/clock.ts'
import { encode } from '../../../src/core/codec.ts'
import { createAudit } from '../../../src/core/observe/audit.ts'
import { auditHash, decodeAuditRow, encodeAuditRow } from '../../../src/core/observe/audit-codec.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { createMemoryStore } from '../../../src/core/store/memory.ts'
import { encodeChain } from '../../../src/identity/chain-codec.ts'
import { decodeEvidence, type Evidence, encodeEvidence } from '../../../src/trust/evidence.ts'
import { EvidenceDesk } from '../../../src/trust/evidence-desk.ts'
import { decodeStanding, encodeStanding, standingCodec } from '../../../src/trust/standing-codec.ts'
import type { ProvedAgainst } from '../../../src/trust/standing-types.ts'
import { NOW } from '../../mesh/fixtures.ts'
import { forkedHistories, pair, signing } from '../../trust/evidence-support.ts'
import type { FuzzTarget } from '../mutate.ts'

const [ann, eve] = [signing('ann'), signing('eve')]
const [one, other] = forkedHistories()

function equivocation(first: Uint8Array, second: Uint8Array, of = eve): Evidence {
  const [a, b] = pair(eve, first, second).proof
  return { kind: 'equivocation', binding: of.papers.binding, chain: of.papers.chain, first: a, second: b }
}

/** Evidence whatever its bytes: nothing but the device that signed both is ever held to it. */
const proof: FuzzTarget = {
  name: 'proof',
  seeds: [
    encodeEvidence(equivocation(eve.record('yes'), eve.record('no'))),
    encodeEvidence(equivocation(eve.live('yes'), eve.live('no'))),
    encodeEvidence(equivocation(eve.record('yes'), eve.record('no'), ann)),
    encodeEvidence(equivocation(eve.record('yes'), eve.record('yes', { seq: 10 }))),
    encodeEvidence({ kind: 'chain-fork', first: encodeChain(one), second: encodeChain(other) }),
    encodeEvidence({ kind: 'chain-fork', first: encodeChain(other), second: encodeChain(one) }),
    encodeEvidence({ kind: 'conflicting-ledger-entries', body: new Uint8Array(8) }),
  ],
  codes: [],
  iterations: 4_000,
  async run(input) {
    const proved: ProvedAgainst[] = []
    const desk = new EvidenceDesk({
      standing: { prove: (against) => proved.push(against) > 0, proved: () => false, deviceRevoked: () => undefined, withdraw: () => undefined },
      clock: manualClock(NOW),
      logger: silentLogger,
      papers: async () => undefined,
      revoked: async () => false,
    })
    const outcome = await desk.take(input)
    assert.equal(proved.length, outcome === 'proved' ? 1 : 0)
    for (const { did } of proved) assert.notEqual(did, ann.did)
    if (outcome !== 'malformed' && outcome !== 'unsupported') assert.deepEqual(encodeEvidence(decodeEvidence(input)), input)
    return outcome
  },
}

const details = { text: 'a', number: 1.5, yes: true }
const auditRow: FuzzTarget = {
  name: 'audit-row',
  seeds: [
    encodeAuditRow({ actor: 'owner', action: 'ban', subject: eve.did, reason: 'why', details }, 1, NOW),
    encodeAuditRow({ actor: 'node', action: 'release', subject: 'x', reason: '' }, 2, NOW),
  ],
  codes: ['WIRE_MALFORMED'],
  tokens: [utf8('1.50'), utf8('1e3'), utf8('NaN'), utf8('-0')],
  async run(input) {
    // A log whose first row is these bytes: reading and verifying never fail, whatever somebody wrote there.
    const store = createMemoryStore()
    const key = Buffer.concat([utf8('row/'), Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1)])
    await store.put('audit', key, Buffer.concat([auditHash(new Uint8Array(32), input), input]))
    const audit = createAudit({ store, clock: manualClock(NOW) })
    const listed = await audit.list()
    assert.equal((await audit.verify()).brokenAt, 1)
    const { seq, timeMs, details: given, ...event } = decodeAuditRow(input)
    assert.equal(listed.length, 1)
    const plain = { ...event, details: Object.fromEntries(given.map(({ name, value }) => [name, value])) }
    try {
      assert.deepEqual(encodeAuditRow(plain, seq, timeMs), input)
    } catch (error) {
      // Control characters: read, shown as they are, never written by us.
      if (!(error instanceof TypeError)) throw error
      return 'unwritable'
    }
    return 'row'
  },
  iterations: 5_000,
}

const record = encode(standingCodec, {
  _version: undefined,
  reputation: 2_500,
  atMs: NOW,
  flags: { quarantined: true, held: false, told: false, decided: true },
  bans: 2,
  lastMs: NOW,
  ban: { untilMs: NOW, reason: 'x' },
  devices: [{ device: eve.device, ban: { untilMs: NOW, reason: 'y' } }],
  proofs: [{ kind: 'equivocation', device: eve.device, hash: new Uint8Array(32), timeMs: NOW, pardoned: true, revoked: false }],
  violations: [{ kind: 'malformed-frame', weight: 5, timeMs: NOW, device: eve.device, evidence: 1, protocol: 'icn/msg/1' }],
})

const standing: FuzzTarget = {
  name: 'standing-record',
  seeds: [record],
  codes: ['WIRE_MALFORMED', 'KEY_INVALID'],
  run(input) {
    const decoded = decodeStanding(eve.did, input)
    // Two bans of one device are one.
    if (decoded.devices.size === 1) assert.deepEqual(encodeStanding(decoded), input)
  },
}

export const conductTargets: readonly FuzzTarget[] = [proof, auditRow, standing]
