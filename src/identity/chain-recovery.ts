import { equal, utf8 } from '../core/bytes.ts'
import { encode, Writer } from '../core/codec.ts'
import { verify } from '../core/crypto/ed25519.ts'
import { hashLabeled, labeled } from '../core/crypto/labels.ts'
import type { Signer } from '../core/signer.ts'
import { invalidChain, policyCodec } from './chain-codec.ts'
import { MAX_FUTURE_MS } from './chain-rules.ts'
import { type Did, didPublicKey, formatDid } from './did.ts'
import { keySetCodec } from './keys.ts'
import type { ChainEntry, ChainState, KeySet, RecoveryAttestation, RecoveryPolicy } from './types.ts'

/**
 * # Recovery by trustees (PN-6, kind `recover`)
 *
 * ```text
 * attestation signs  L("icn/recovery/v1") || did32 || previous32 || H("icn/recovery-policy/v1", policy) || recovery_id16 || new keys || u64 time_ms
 *              and   "ICN_RECOVERY_ATTESTATION:<did>:<did of the new key>:<seconds since the epoch>"
 * ```
 *
 * The policy is the owner's, from the entries before: never the requester's. A policy that replaced another is in force only after the other's delay;
 * until then the trustees of the older one can still recover, so a thief of the keys cannot swap them first.
 */
const LABEL = 'icn/recovery/v1'

export interface RecoveryRequest {
  readonly did: Did
  /** Hash of the entry the recovery follows. */
  readonly previous: Uint8Array
  /** The policy in force there. */
  readonly policy: RecoveryPolicy
  readonly recoveryId: Uint8Array
  readonly keys: KeySet
}

/** What a trustee signs after having satisfied himself, by his own means, that the new keys are the owner's. */
export function attestRecovery(request: RecoveryRequest, trustee: { did: Did; signer: Signer }, timeMs: number): RecoveryAttestation {
  return {
    trustee: trustee.did,
    recoveryId: request.recoveryId,
    timeMs,
    signature: trustee.signer.sign(attestationBytes(request, timeMs)),
    textSignature: trustee.signer.sign(attestationText(request.did, request.keys, timeMs)),
  }
}

function attestationBytes(request: RecoveryRequest, timeMs: number): Uint8Array {
  const policy = hashLabeled('icn/recovery-policy/v1', encode(policyCodec, request.policy))
  const time = new Writer(8)
  time.u64(BigInt(timeMs))
  return labeled(LABEL, didPublicKey(request.did), request.previous, policy, request.recoveryId, encode(keySetCodec, request.keys), time.bytes)
}

export function attestationText(did: Did, keys: KeySet, timeMs: number): Uint8Array {
  return utf8(`ICN_RECOVERY_ATTESTATION:${did}:${formatDid(keys.ed25519)}:${Math.floor(timeMs / 1000)}`)
}

/** What a complete recovery is worth: how long it waits, and whether it outranks a rotation. */
export interface Quorum {
  readonly delayMs: number
  readonly overrides: boolean
  /** The newest attestation's time. */
  readonly newestMs: number
}

/**
 * Judges the attestations of a recovery behind `before`, entries that were adopted at `adoptedMs`. `chainOf` gives a trustee's chain where one is known;
 * otherwise the trustee's DID key counts. A verifier that learns of a recovery together with the entry before it was not there to count any delay:
 * it goes by the signed times.
 * @throws KithError `CHAIN_INVALID` unless a quorum of a policy in force attests exactly this entry and every attestation is good.
 */
export function judgeRecovery(
  before: readonly ChainEntry[],
  adoptedMs: readonly number[],
  entry: ChainEntry,
  nowMs: number,
  chainOf: ((did: Did) => ChainState | undefined) | undefined,
): Quorum {
  const attestations = entry.attestations
  const first = attestations[0]
  if (first === undefined) throw invalidChain('a recovery without attestations')
  if (new Set(attestations.map((one) => one.trustee)).size !== attestations.length) throw invalidChain('a trustee attests twice')
  if (attestations.some((one) => !equal(one.recoveryId, first.recoveryId))) throw invalidChain('attestations of different recoveries')
  const newestMs = Math.max(...attestations.map((one) => one.timeMs))
  if (newestMs > nowMs + MAX_FUTURE_MS) throw invalidChain('an attestation is dated more than 24 h ahead')
  const late = adoptedMs.at(-1) === nowMs
  const policy = late
    ? policyInForce(
        before,
        before.map((one) => one.timeMs),
        Math.min(...attestations.map((one) => one.timeMs)),
      )
    : policyInForce(before, adoptedMs, nowMs)
  if (policy === undefined) throw invalidChain('a recovery without a policy that allows it')
  if (!samePolicy(entry.policy, policy)) throw invalidChain('a recovery changes the policy')
  const request = { did: entry.did, previous: entry.previous, policy, recoveryId: first.recoveryId, keys: entry.keys }
  for (const one of attestations) {
    if (!policy.trustees.includes(one.trustee)) throw invalidChain('an attestation is not by a trustee')
    if (!attests(one, request, chainOf?.(one.trustee))) throw invalidChain('an attestation does not verify')
  }
  if (attestations.length < policy.threshold) throw invalidChain('the attestations are fewer than the threshold')
  return { delayMs: policy.delayS * 1000, overrides: policy.override > 0 && attestations.length >= policy.override, newestMs }
}

/**
 * The policy whose trustees may act at `atMs`: the last one that replaced its predecessor at least the predecessor's delay before.
 * A first policy, where there was none, takes nobody's right away and counts at once.
 */
function policyInForce(before: readonly ChainEntry[], times: readonly number[], atMs: number): RecoveryPolicy | undefined {
  let inForce: RecoveryPolicy | undefined
  for (const [at, entry] of before.entries()) {
    if (inForce !== undefined && atMs < (times[at] as number) + inForce.delayS * 1000) return inForce
    inForce = entry.policy
  }
  return inForce
}

function samePolicy(a: RecoveryPolicy | undefined, b: RecoveryPolicy | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return equal(encode(policyCodec, a), encode(policyCodec, b))
}

/** By the keys that spoke for the trustee at that time. */
function attests(attestation: RecoveryAttestation, request: RecoveryRequest, chain: ChainState | undefined): boolean {
  const generations = chain?.entries ?? []
  const keys: Uint8Array[] = []
  for (const [at, entry] of generations.entries()) {
    const end = generations[at + 1]?.timeMs
    if (end === undefined || attestation.timeMs <= end) keys.push(entry.keys.ed25519)
  }
  if (chain === undefined) keys.push(didPublicKey(attestation.trustee))
  const message = attestationBytes(request, attestation.timeMs)
  const text = attestationText(request.did, request.keys, attestation.timeMs)
  return keys.some((key) => verify(key, message, attestation.signature) && verify(key, text, attestation.textSignature))
}
