import type { PublicKey } from '../core/bytes.ts'
import { bytesN, type Codec, decode, encode, option, struct, u8, u32, uint53 } from '../core/codec.ts'
import { type HybridSigner, signHybrid, verifyHybrid } from '../core/crypto/hybrid.ts'
import { labeled } from '../core/crypto/labels.ts'
import { MLDSA_SIGNATURE_BYTES } from '../core/crypto/mldsa.ts'
import { isKithError } from '../core/errors.ts'
import { type Did, didPublicKey } from '../identity/did.ts'
import { didCodec, publicKey } from '../mesh/address-book-codec.ts'
import type { DeviceKeys } from '../mesh/messages/types.ts'
import { CLASS_FLOOR } from './score.ts'
import { MAX_LIFE_MS } from './statement.ts'
import type { EdgeEvidence } from './types.ts'

/**
 * # What supports a trust statement
 *
 * A statement may come with nothing. If it comes with evidence, at least one item must hold, and nothing counts by being there: a signature is verified under
 * the keys of the machine that made it, a reference is looked up by whoever can.
 *
 * ```text
 * kind 1 endorsement   endorser 32 | device 32 | u64 time_ms | sig 64 | option<sig 3309>
 *                      over L("icn/trust-endorsement/v1") || source 32 || target 32 || u64 time_ms
 * kind 2 observation   observer 32 | device 32 | u8 metric | u32 value | u64 time_ms | sig 64 | option<sig 3309>
 *                      over L("icn/trust-observation/v1") || target 32 || u8 metric || u32 value || u64 time_ms
 * kind 3 reference     u8 what | hash 32                what: 1 contract, 2 ledger entry, 3 vote, 4 attestation elsewhere
 * others               carried, give nothing
 * ```
 * metric: 1 uptime, 2 task success, 3 storage reliability, 4 protocol compliance (basis points, at most 10000), 5 latency (ms).
 */
export const EVIDENCE = { endorsement: 1, observation: 2, reference: 3 } as const
export const METRIC = { uptime: 1, taskSuccess: 2, storage: 3, compliance: 4, latency: 5 } as const

const ENDORSEMENT_LABEL = 'icn/trust-endorsement/v1'
const OBSERVATION_LABEL = 'icn/trust-observation/v1'
/** Clocks differ; what is dated later than this is not evidence yet. */
const CLOCK_SKEW_MS = 600_000
const ENDORSEMENT_AGE_MS: number = MAX_LIFE_MS
const OBSERVATION_AGE_MS: number = 7 * 86_400_000
/** Whoever vouches must itself be Known here. */
const MIN_SIGNER_SCORE = CLASS_FLOOR.known

interface Signed {
  readonly signer: Did
  readonly device: PublicKey
  readonly timeMs: number
  readonly ed25519: Uint8Array
  readonly mldsa: Uint8Array | undefined
}

export interface Endorsement extends Signed {}

export interface Observation extends Signed {
  readonly metric: number
  readonly value: number
}

export interface EvidenceReference {
  readonly what: number
  readonly hash: Uint8Array
}

const signature = { ed25519: bytesN(64), mldsa: option(bytesN(MLDSA_SIGNATURE_BYTES)) }
export const endorsementCodec: Codec<Endorsement> = struct<Endorsement>({ signer: didCodec, device: publicKey, timeMs: uint53, ...signature })
export const observationCodec: Codec<Observation> = struct<Observation>({
  signer: didCodec,
  device: publicKey,
  metric: u8,
  value: u32,
  timeMs: uint53,
  ...signature,
})
export const referenceCodec: Codec<EvidenceReference> = struct<EvidenceReference>({ what: u8, hash: bytesN(32) })

/** The machine that signs. */
export interface EvidenceSigner {
  readonly did: Did
  readonly device: PublicKey
  readonly keys: HybridSigner
}

/** "I know that source and target know each other", said by a third. */
export function createEndorsement(by: EvidenceSigner, about: { readonly source: Did; readonly target: Did; readonly timeMs: number }): EdgeEvidence {
  const { ed25519, mldsa } = signHybrid(by.keys, endorsementMessage(about.source, about.target, about.timeMs))
  return { kind: EVIDENCE.endorsement, body: encode(endorsementCodec, { signer: by.did, device: by.device, timeMs: about.timeMs, ed25519, mldsa }) }
}

/** @throws TypeError for a metric or value outside its range. */
export function createObservation(
  by: EvidenceSigner,
  of: { readonly target: Did; readonly metric: number; readonly value: number; readonly timeMs: number },
): EdgeEvidence {
  const { metric, value, timeMs } = of
  if (!isReading(metric, value)) throw new TypeError(`not a reading: metric ${metric}, value ${value}`)
  const { ed25519, mldsa } = signHybrid(by.keys, observationMessage(of.target, metric, value, timeMs))
  return { kind: EVIDENCE.observation, body: encode(observationCodec, { signer: by.did, device: by.device, metric, value, timeMs, ed25519, mldsa }) }
}

export function createReference(reference: EvidenceReference): EdgeEvidence {
  return { kind: EVIDENCE.reference, body: encode(referenceCodec, reference) }
}

/** What evidence is judged with. */
export interface EvidenceContext {
  readonly source: Did
  readonly target: Did
  readonly now: number
  /** Verified keys of a machine; `undefined` when its papers were never seen. */
  keys(did: Did, device: PublicKey): Promise<DeviceKeys | undefined>
  score(did: Did): number
  /** Whether the thing exists and has these two as parties. Absent: references give nothing. */
  resolve?(reference: EvidenceReference, source: Did, target: Did): Promise<boolean>
}

/** `valid`, or why an item gives nothing. */
export type EvidenceVerdict = 'valid' | 'unknown-kind' | 'malformed' | 'party' | 'age' | 'stranger' | 'unknown-device' | 'revoked' | 'signature' | 'unproven'

export async function judgeEvidence(item: EdgeEvidence, context: EvidenceContext): Promise<EvidenceVerdict> {
  try {
    switch (item.kind) {
      case EVIDENCE.endorsement: {
        const said = decode(endorsementCodec, item.body)
        if (said.signer === context.source || said.signer === context.target) return 'party'
        return await judgeSigned(said, ENDORSEMENT_AGE_MS, endorsementMessage(context.source, context.target, said.timeMs), context)
      }
      case EVIDENCE.observation: {
        const said = decode(observationCodec, item.body)
        if (!isReading(said.metric, said.value)) return 'malformed'
        if (said.signer === context.target) return 'party'
        return await judgeSigned(said, OBSERVATION_AGE_MS, observationMessage(context.target, said.metric, said.value, said.timeMs), context)
      }
      case EVIDENCE.reference: {
        const reference = decode(referenceCodec, item.body)
        return (await context.resolve?.(reference, context.source, context.target)) === true ? 'valid' : 'unproven'
      }
      default:
        return 'unknown-kind'
    }
  } catch (error) {
    if (isKithError(error, 'WIRE_MALFORMED') || isKithError(error, 'KEY_INVALID')) return 'malformed'
    throw error
  }
}

async function judgeSigned(said: Signed, ageMs: number, message: Uint8Array, context: EvidenceContext): Promise<EvidenceVerdict> {
  if (said.timeMs > context.now + CLOCK_SKEW_MS || said.timeMs < context.now - ageMs) return 'age'
  if (context.score(said.signer) < MIN_SIGNER_SCORE) return 'stranger'
  const keys = await context.keys(said.signer, said.device)
  if (keys === undefined) return 'unknown-device'
  if (keys.revoked) return 'revoked'
  return verifyHybrid(keys.key, message, said) ? 'valid' : 'signature'
}

function endorsementMessage(source: Did, target: Did, timeMs: number): Uint8Array {
  return labeled(ENDORSEMENT_LABEL, didPublicKey(source), didPublicKey(target), encode(uint53, timeMs))
}

function observationMessage(target: Did, metric: number, value: number, timeMs: number): Uint8Array {
  return labeled(OBSERVATION_LABEL, didPublicKey(target), encode(u8, metric), encode(u32, value), encode(uint53, timeMs))
}

function isReading(metric: number, value: number): boolean {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) return false
  if (metric === METRIC.latency) return true
  return metric >= METRIC.uptime && metric <= METRIC.compliance && value <= 10_000
}
