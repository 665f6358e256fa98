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
  const policy = policyHash(request.policy)
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
  /** When its threshold was reached, by the signed times. What is attested beyond it does not make it younger. */
  readonly completeMs: number
}

/** When and with what knowledge a quorum is judged. */
export interface Judging {
  /** Wall clock, ms since the epoch. */
  readonly now: number
  /** Whose policy counts: the one in force at this time, by the own clock. */
  readonly atMs: number
  readonly chainOf: ((did: Did) => ChainState | undefined) | undefined
}

/** An attestation is made at most this long after the request, and no longer before it than clocks may differ. */
export const ATTEST_WITHIN_MS: number = 30 * 86_400_000

/**
 * Judges the attestations of a recovery behind `before`, entries that were adopted at `adoptedMs`. `chainOf` gives a trustee's chain where one is known;
 * otherwise the trustee's DID key counts. A verifier that learns of a recovery together with the entry before it was not there to count any delay:
 * it goes by the signed times.
 * A word that does not hold under what is known here of its trustee counts for nothing and takes nothing from the others: verifiers know different histories of
 * trustees, and one trustee must not be able to make a complete recovery invalid for some of them, or afterwards.
 * @throws KithError `CHAIN_INVALID` unless a quorum of a policy in force attests exactly this entry, and for an attestation that breaks the policy's terms.
 */
export function judgeRecovery(before: readonly ChainEntry[], adoptedMs: readonly number[], entry: ChainEntry, judging: Judging): Quorum {
  const { now, atMs, chainOf } = judging
  const attestations = entry.attestations
  const first = attestations[0]
  if (first === undefined) throw invalidChain('a recovery without attestations')
  if (new Set(attestations.map((one) => one.trustee)).size !== attestations.length) throw invalidChain('a trustee attests twice')
  if (attestations.some((one) => !equal(one.recoveryId, first.recoveryId))) throw invalidChain('attestations of different recoveries')
  const late = adoptedMs.at(-1) === now
  const signedTimes = (): readonly number[] => before.map((one) => one.timeMs)
  const policy = late ? policyInForce(before, signedTimes(), Math.min(...attestations.map((one) => one.timeMs))) : policyInForce(before, adoptedMs, atMs)
  if (policy === undefined) throw invalidChain('a recovery without a policy that allows it')
  if (!samePolicy(entry.policy, policy)) throw invalidChain('a recovery changes the policy')
  const request = { did: entry.did, previous: entry.previous, policy, recoveryId: first.recoveryId, keys: entry.keys }
  const good: number[] = []
  for (const one of attestations) {
    checkTerms(one, request, entry.timeMs, now)
    if (holds(one, request, chainOf?.(one.trustee))) good.push(one.timeMs)
  }
  const completeMs = good.sort((a, b) => a - b)[policy.threshold - 1]
  if (completeMs === undefined) {
    throw invalidChain(attestations.length < policy.threshold ? 'the attestations are fewer than the threshold' : 'an attestation does not verify')
  }
  return { delayMs: policy.delayS * 1000, overrides: policy.override > 0 && good.length >= policy.override, completeMs }
}

/**
 * One trustee's word by itself: a trustee of the policy, made in time for this request, for exactly these keys.
 * @throws KithError `CHAIN_INVALID`.
 */
export function checkAttestation(
  one: RecoveryAttestation,
  request: RecoveryRequest,
  { requestedMs, now, chain }: { readonly requestedMs: number; readonly now: number; readonly chain: ChainState | undefined },
): void {
  checkTerms(one, request, requestedMs, now)
  if (!holds(one, request, chain)) throw invalidChain('an attestation does not verify')
}

function checkTerms(one: RecoveryAttestation, request: RecoveryRequest, requestedMs: number, now: number): void {
  if (one.timeMs > now + MAX_FUTURE_MS) throw invalidChain('an attestation is dated more than 24 h ahead')
  const early = one.timeMs < requestedMs - MAX_FUTURE_MS
  if (early || one.timeMs > requestedMs + ATTEST_WITHIN_MS) throw invalidChain('an attestation was not made for this request in time')
  if (!request.policy.trustees.includes(one.trustee)) throw invalidChain('an attestation is not by a trustee')
}

function holds(one: RecoveryAttestation, request: RecoveryRequest, chain: ChainState | undefined): boolean {
  const message = attestationBytes(request, one.timeMs)
  const text = attestationText(request.did, request.keys, one.timeMs)
  return keysAtTime(one.trustee, one.timeMs, chain).some((key) => verify(key, message, one.signature) && verify(key, text, one.textSignature))
}

/** The policy that decides about a recovery behind the head of this chain now. */
export function recoveryPolicyOf(chain: Pick<ChainState, 'entries' | 'adoptedMs'>, nowMs: number): RecoveryPolicy | undefined {
  return policyInForce(chain.entries, chain.adoptedMs, nowMs)
}

/**
 * The policy whose trustees may act at `atMs`: the last one that replaced its predecessor at least the predecessor's delay before.
 * A first policy, where there was none, takes nobody's right away and counts at once.
 */
export function policyInForce(before: readonly ChainEntry[], times: readonly number[], atMs: number): RecoveryPolicy | undefined {
  let inForce: RecoveryPolicy | undefined
  for (const [at, entry] of before.entries()) {
    if (inForce !== undefined && atMs < (times[at] as number) + inForce.delayS * 1000) return inForce
    inForce = entry.policy
  }
  return inForce
}

export function samePolicy(a: RecoveryPolicy | undefined, b: RecoveryPolicy | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return equal(encode(policyCodec, a), encode(policyCodec, b))
}

/** The keys that spoke for a trustee at that time. */
export function keysAtTime(trustee: Did, timeMs: number, chain: ChainState | undefined): readonly Uint8Array[] {
  if (chain === undefined) return [didPublicKey(trustee)]
  return chain.entries.filter((_, at) => timeMs <= (chain.entries[at + 1]?.timeMs ?? timeMs)).map((entry) => entry.keys.ed25519)
}

/** H(policy) as trustees sign it. */
export function policyHash(policy: RecoveryPolicy): Uint8Array {
  return hashLabeled('icn/recovery-policy/v1', encode(policyCodec, policy))
}
