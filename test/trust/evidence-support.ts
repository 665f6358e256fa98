import { createHash } from 'node:crypto'
import { type PublicKey, utf8 } from '../../src/core/bytes.ts'
import type { HybridSigner } from '../../src/core/crypto/hybrid.ts'
import { hashLabeled } from '../../src/core/crypto/labels.ts'
import { Secret } from '../../src/core/secret.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { encodeChain } from '../../src/identity/chain-codec.ts'
import { createInception, createRotation } from '../../src/identity/chain-make.ts'
import { type Did, didPublicKey } from '../../src/identity/did.ts'
import { type KeySeeds, openKeySet, publicKeysOf } from '../../src/identity/keys.ts'
import type { ChainEntry } from '../../src/identity/types.ts'
import { decodeEnvelope, ENVELOPE_ID_LABEL, type EnvelopeFields, signEnvelope } from '../../src/mesh/messages/envelope.ts'
import type { DevicePapers, Equivocation, Suite } from '../../src/mesh/messages/types.ts'
import { NOW, type TestDevice, type TestIdentity, testDevice, testIdentity } from '../mesh/fixtures.ts'

/** A device that signs what a test wants, numbers of its own choosing. */
export interface Signing {
  readonly did: Did
  readonly device: PublicKey
  readonly papers: DevicePapers
  readonly identity: TestIdentity
  readonly keys: TestDevice
  record(text: string, changes?: Partial<RecordFields>): Uint8Array
  live(text: string, changes?: Partial<LiveFields>): Uint8Array
  stored(text: string): Uint8Array
}

type RecordFields = Extract<EnvelopeFields, { class: 'record' }>
type LiveFields = Extract<EnvelopeFields, { class: 'live' }>

export function signing(name: string, options: { mldsa?: boolean; identity?: TestIdentity; suite?: Suite } = {}): Signing {
  const { mldsa = false, suite = mldsa ? 'hybrid' : 'ed25519' } = options
  const identity = options.identity ?? testIdentity(name, { mldsa })
  const keys = testDevice(identity, name, { deviceMldsa: mldsa })
  const { did } = identity.chain
  const device = keys.linkSigner.publicKey
  const signer: HybridSigner = { ed25519: keys.linkSigner, mldsa: keys.mldsaSigner }
  const common = { suite, from: didPublicKey(did), device, timeMs: NOW, type: 0x8000 }
  return {
    did,
    device,
    identity,
    keys,
    papers: { did, binding: keys.binding, chain: encodeChain(identity.chain.entries) },
    record: (text, changes = {}) => signEnvelope({ ...common, class: 'record', topic: 'news', epoch: 3, seq: 9, payload: utf8(text), ...changes }, signer),
    live: (text, changes = {}) =>
      signEnvelope({ ...common, class: 'live', to: didPublicKey(did), session: new Uint8Array(16).fill(7), seq: 4, payload: utf8(text), ...changes }, signer),
    stored: (text) =>
      signEnvelope({ ...common, class: 'stored', to: didPublicKey(did), msgId: new Uint8Array(16), expiresMs: NOW + 1, payload: utf8(text) }, signer),
  }
}

/** The pair in the order of evidence. */
export function pair(of: Pick<Signing, 'did' | 'device'>, one: Uint8Array, other: Uint8Array): Equivocation {
  const id = (bytes: Uint8Array): Buffer => Buffer.from(hashLabeled(ENVELOPE_ID_LABEL, decodeEnvelope(bytes).body))
  return { did: of.did, device: of.device, proof: Buffer.compare(id(one), id(other)) <= 0 ? [one, other] : [other, one] }
}

/** Two valid histories of one identity that rotate at one index to different keys: only the holder of the phrase can make both. */
export function forkedHistories(): readonly [readonly ChainEntry[], readonly ChainEntry[]] {
  const seeds = (name: string): KeySeeds => ({ ed25519: Secret.take(createHash('sha256').update(`fork ${name}`).digest()), mldsa: undefined })
  const now = NOW - 86_400_000
  const inception = createInception({ signer: openKeySet('identity', seeds('0')), next: publicKeysOf(seeds('1')), now })
  const history = (branch: string): readonly ChainEntry[] => {
    let chain = adoptChain(undefined, [inception], { now }).state
    for (const [signer, next] of [
      ['1', `2 ${branch}`],
      [`2 ${branch}`, `3 ${branch}`],
    ] as const) {
      const entry = createRotation({ chain, signer: openKeySet('identity', seeds(signer)), reason: 'lost', next: publicKeysOf(seeds(next)), now })
      chain = adoptChain(chain, [entry], { now }).state
    }
    return chain.entries
  }
  return [history('a'), history('b')]
}
