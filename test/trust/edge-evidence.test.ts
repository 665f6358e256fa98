import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PublicKey } from '../../src/core/bytes.ts'
import type { Did } from '../../src/identity/did.ts'
import type { DeviceKeys } from '../../src/mesh/messages/types.ts'
import { createEndorsement, createObservation, createReference, EVIDENCE, type EvidenceSigner, METRIC } from '../../src/trust/edge-evidence.ts'
import { MAX_LIFE_MS } from '../../src/trust/statement.ts'
import type { EdgeEvidence } from '../../src/trust/types.ts'
import { testDevice, testIdentity } from '../mesh/fixtures.ts'
import { attestation, DAY, did, me, NOW, type World, world } from './support.ts'

const [source, target] = ['source', 'target'].map((name) => did(name)) as [Did, Did]

function signerOf(name: string, mldsa = false): { signer: EvidenceSigner; keys: DeviceKeys } {
  const device = testDevice(testIdentity(name, { mldsa }), name)
  const keys: DeviceKeys = {
    did: device.did,
    device: device.linkSigner.publicKey,
    key: { ed25519: device.linkSigner.publicKey, mldsa: device.mldsaSigner?.publicKey },
    notBeforeMs: NOW - DAY,
    notAfterMs: NOW + DAY,
    revoked: false,
    fallbackKem: undefined,
  }
  return { signer: { did: device.did, device: keys.device, keys: { ed25519: device.linkSigner, mldsa: device.mldsaSigner } }, keys }
}

const endorser = signerOf('endorser', true)
const classical = signerOf('classical')
const stranger = signerOf('stranger')

interface Setting {
  readonly revoked?: boolean
  readonly papers?: boolean
  readonly resolve?: () => Promise<boolean>
}

/** A node that knows the machines of two endorsers and trusts both, and one stranger whose papers it has. */
async function setting({ revoked = false, papers = true, resolve }: Setting = {}): Promise<World> {
  const known = [endorser, classical, stranger].map(({ keys }) => ({ ...keys, revoked }))
  const made = await world({
    components: {
      directory: {
        keys: async (of: Did, device: PublicKey) => (papers ? known.find((keys) => keys.did === of && Buffer.compare(keys.device, device) === 0) : undefined),
      },
      ...(resolve === undefined ? {} : { resolve }),
    },
  })
  for (const { signer } of [endorser, classical]) await made.graph.set(signer.did, 2_500)
  return made
}

async function outcome(evidence: readonly EdgeEvidence[], options: Setting & { from?: Did; about?: Did } = {}): Promise<string> {
  const { graph } = await setting(options)
  await using _ = graph
  return await graph.apply(attestation(options.from ?? source, options.about ?? target, 5_000, { evidence }))
}

const endorsement = (parts: { by?: EvidenceSigner; source?: Did; target?: Did; timeMs?: number } = {}): EdgeEvidence =>
  createEndorsement(parts.by ?? endorser.signer, { source, target, timeMs: NOW, ...parts })
const observation = (parts: { by?: EvidenceSigner; target?: Did; metric?: number; value?: number; timeMs?: number } = {}): EdgeEvidence =>
  createObservation(parts.by ?? endorser.signer, { target, metric: METRIC.uptime, value: 9_900, timeMs: NOW, ...parts })

function corrupted(item: EdgeEvidence, at: number): EdgeEvidence {
  const body = Uint8Array.from(item.body)
  const index = at < 0 ? body.length + at : at
  body[index] = (body[index] as number) ^ 1
  return { ...item, body }
}

test('evidence, none, needs none', async () => {
  assert.equal(await outcome([]), 'applied')
})

test('evidence, an endorsement or observation that verifies, supports, whether hybrid or classical as the device has it', async () => {
  assert.equal(await outcome([endorsement()]), 'applied')
  assert.equal(await outcome([endorsement({ by: classical.signer })]), 'applied')
  assert.equal(await outcome([observation()]), 'applied')
  assert.equal(await outcome([observation({ metric: METRIC.latency, value: 250_000 })]), 'applied')
})

test('evidence, a signature that is not empty and not right, supports nothing', async () => {
  // 32 signer, 32 device, 8 time, 64 Ed25519, 1 flag, 3,309 ML-DSA.
  assert.equal(await outcome([corrupted(endorsement(), 72)]), 'unsupported', 'the Ed25519 half')
  assert.equal(await outcome([corrupted(endorsement(), -1)]), 'unsupported', 'the ML-DSA half')
  assert.equal(await outcome([corrupted(endorsement({ by: classical.signer }), 80)]), 'unsupported')
  assert.equal(await outcome([corrupted(endorsement(), 71)]), 'unsupported', 'another time')
  assert.equal(await outcome([corrupted(observation(), 64)]), 'unsupported', 'another metric')
  const { body } = endorsement()
  const stripped = Uint8Array.from([...body.subarray(0, 136), 0])
  assert.equal(await outcome([{ kind: EVIDENCE.endorsement, body: stripped }]), 'unsupported', 'the ML-DSA half left out')
})

test('evidence, made for other people, supports nothing', async () => {
  assert.equal(await outcome([endorsement({ target: did('other') })]), 'unsupported')
  assert.equal(await outcome([endorsement({ source: did('other') })]), 'unsupported')
  assert.equal(await outcome([endorsement({ source: target, target: source })]), 'unsupported', 'the two swapped')
  assert.equal(await outcome([observation({ target: did('other') })]), 'unsupported')
  assert.equal(await outcome([{ ...observation(), kind: EVIDENCE.endorsement }]), 'unsupported', 'one kind as the other')
})

test('evidence, an endorsement by the source or the target, supports nothing', async () => {
  const by = endorser.signer
  assert.equal(await outcome([createEndorsement(by, { source: by.did, target, timeMs: NOW })], { from: by.did }), 'unsupported')
  assert.equal(await outcome([createEndorsement(by, { source, target: by.did, timeMs: NOW })], { about: by.did }), 'unsupported')
  assert.equal(await outcome([observation({ target: by.did })], { about: by.did }), 'unsupported', 'who praises itself')
})

test('evidence, too old or from the future, supports nothing', async () => {
  assert.equal(await outcome([endorsement({ timeMs: NOW - MAX_LIFE_MS })]), 'applied')
  assert.equal(await outcome([endorsement({ timeMs: NOW - MAX_LIFE_MS - 1 })]), 'unsupported')
  assert.equal(await outcome([endorsement({ timeMs: NOW + 600_001 })]), 'unsupported')
  assert.equal(await outcome([observation({ timeMs: NOW - 7 * DAY })]), 'applied')
  assert.equal(await outcome([observation({ timeMs: NOW - 7 * DAY - 1 })]), 'unsupported')
})

test('evidence, by somebody below Known, of unknown papers or from a revoked device, supports nothing', async () => {
  assert.equal(await outcome([endorsement({ by: stranger.signer })]), 'unsupported')
  assert.equal(await outcome([endorsement()], { papers: false }), 'unsupported')
  assert.equal(await outcome([endorsement()], { revoked: true }), 'unsupported')
})

test('evidence, a reference, supports when it is found and without a way to look gives nothing', async () => {
  const reference = createReference({ what: 2, hash: new Uint8Array(32) })
  assert.equal(await outcome([reference]), 'unsupported')
  assert.equal(await outcome([reference], { resolve: async () => false }), 'unsupported')
  assert.equal(await outcome([reference], { resolve: async () => true }), 'applied')
})

test('evidence, of an unknown kind or malformed, gives nothing and takes nothing from what holds', async () => {
  const unknown = { kind: 200, body: Uint8Array.of(1, 2, 3) }
  const malformed = { kind: EVIDENCE.endorsement, body: Uint8Array.of(1, 2, 3) }
  assert.equal(await outcome([unknown]), 'unsupported')
  assert.equal(await outcome([malformed]), 'unsupported')
  assert.equal(await outcome([unknown, malformed, corrupted(endorsement(), 72), endorsement({ by: classical.signer })]), 'applied')
})

test('evidence, a reading out of range, is not made and supports nothing', async () => {
  for (const parts of [{ value: 10_001 }, { value: -1 }, { value: 0.5 }, { metric: 0 }, { metric: 6 }, { value: Number.NaN }]) {
    assert.throws(() => observation(parts), TypeError)
  }
})

test('a statement refused as unsupported, offered again when its endorser is known, is taken', async () => {
  const { graph } = await setting()
  await using _ = graph
  const record = attestation(source, target, 5_000, { evidence: [endorsement({ by: stranger.signer })] })
  assert.equal(await graph.apply(record), 'unsupported')
  await graph.set(stranger.signer.did, 2_500)
  assert.equal(await graph.apply(record), 'applied')
})

test('evidence, two statements of one edge judged at once, leave the newer one', async () => {
  const { graph } = await setting()
  await using _ = graph
  await graph.set(source, 10_000)
  const older = attestation(source, target, 9_000, { sequence: 1, evidence: [endorsement()] })
  const newer = attestation(source, target, 1_000, { sequence: 2 })
  const outcomes = await Promise.all([graph.apply(older), graph.apply(newer)])
  assert.equal(outcomes[1], 'applied')
  assert.equal(graph.explain(target).transitive, 999)
  assert.equal((await graph.edges({ source, target }))[0]?.sequence, 2)
  assert.equal(graph.score(me), 10_000)
})
