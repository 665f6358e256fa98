import assert from 'node:assert/strict'
import { equal } from '../../../src/core/bytes.ts'
import { manualClock } from '../../../src/core/clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import { createMemoryStore } from '../../../src/core/store/memory.ts'
import { createEndorsement, createObservation, createReference, judgeEvidence } from '../../../src/trust/edge-evidence.ts'
import { openTrustGraph, type TrustGraph } from '../../../src/trust/index.ts'
import { decodeStatement, encodeStatement } from '../../../src/trust/statement.ts'
import { testDevice, testIdentity } from '../../mesh/fixtures.ts'
import { did, me, NOW, recordOf, statement } from '../../trust/support.ts'
import type { FuzzTarget } from '../mutate.ts'

const device = testDevice(testIdentity('endorser', { mldsa: true }), 'endorser')
const signer = { did: device.did, device: device.linkSigner.publicKey, keys: { ed25519: device.linkSigner, mldsa: device.mldsaSigner } }
const keys = {
  did: device.did,
  device: signer.device,
  key: { ed25519: signer.device, mldsa: device.mldsaSigner?.publicKey },
  notBeforeMs: 0,
  notAfterMs: 2 * NOW,
  revoked: false,
  fallbackKem: undefined,
}
const friend = did('friend')
const subject = did('subject')
const endorsement = createEndorsement(signer, { source: friend, target: subject, timeMs: NOW })
const observation = createObservation(signer, { target: subject, metric: 1, value: 9_900, timeMs: NOW })
const reference = createReference({ what: 2, hash: new Uint8Array(32).fill(7) })

const seeds = [
  encodeStatement(statement(subject, 5_000)),
  encodeStatement(statement(subject, 0, { graph: 'technical', scope: 'coop:bakery' })),
  encodeStatement(statement(subject, 10_000, { labels: ['baker', 'neighbour'], evidence: [reference] })),
  encodeStatement(statement(subject, 7_000, { evidence: [{ kind: 99, body: Uint8Array.of(1) }, endorsement] })),
]

/** What decodes has this one encoding. */
const trustStatement: FuzzTarget = {
  name: 'trust-statement',
  seeds,
  codes: ['WIRE_MALFORMED'],
  run(input) {
    const said = decodeStatement(input)
    assert.ok(equal(encodeStatement(said), input), 'a second encoding of the same statement')
    return `${said.graph} ${said.scope === undefined} ${said.weight === 0} ${said.labels.length} ${said.evidence.length}`
  },
}

let graph: TrustGraph

/** Whatever a friend's statement holds: one of the outcomes, a score that the friend's weight bounds, and nobody else's touched. */
const trustApply: FuzzTarget = {
  name: 'trust-apply',
  seeds,
  codes: [],
  async open() {
    graph = await openTrustGraph(
      { did: me, store: createMemoryStore(), clock: manualClock(NOW), logger: silentLogger, directory: { keys: async () => keys } },
      { statementsPerHour: 1_000_000_000, limits: { issuerEdges: 200, edges: 1_000 } },
    )
    await graph.set(friend, 9_000)
    await graph.set(device.did, 2_500)
  },
  close: () => graph.close(),
  async run(input) {
    const outcome = await graph.apply(recordOf(friend, input))
    assert.ok(graph.score(subject) <= 2_700)
    assert.equal(graph.score(friend), 6_300)
    const { edges } = graph.status()
    assert.ok(edges <= 1_000)
    return outcome
  },
}

/** No changed evidence holds; only the bytes that were signed do. */
const trustEvidence: FuzzTarget = {
  name: 'trust-evidence',
  seeds: [endorsement, observation, reference].map(({ kind, body }) => Uint8Array.of(kind, ...body)),
  codes: [],
  async run(input) {
    const [kind = 0] = input
    const body = input.subarray(1)
    const verdict = await judgeEvidence(
      { kind, body },
      {
        source: friend,
        target: subject,
        now: NOW,
        keys: async () => keys,
        score: () => 10_000,
        resolve: async (asked) => equal(asked.hash, new Uint8Array(32).fill(7)),
      },
    )
    const signed = [endorsement, observation].some((item) => item.kind === kind && equal(item.body, body))
    // A key of another name in the same bytes is judged by the keys that name has; here every name has the same.
    if (verdict === 'valid' && kind !== reference.kind) assert.ok(signed || sameSaid(body, kind), 'evidence that nobody signed')
    return verdict
  },
}

/** Signer and device are not under the signature; all behind them is. */
function sameSaid(body: Uint8Array, kind: number): boolean {
  const item = kind === endorsement.kind ? endorsement : observation
  return equal(body.subarray(64), item.body.subarray(64))
}

export const trustTargets: readonly FuzzTarget[] = [trustStatement, trustApply, trustEvidence]
