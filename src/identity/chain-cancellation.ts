import type { Signature } from '../core/bytes.ts'
import { bytesN, type Codec, constant, encode, list, struct, u64, uint53 } from '../core/codec.ts'
import { signLabeled, verifyLabeled } from '../core/crypto/labels.ts'
import type { Signer } from '../core/signer.ts'
import { invalidChain } from './chain-codec.ts'
import { type Judging, keysAtTime, policyHash, policyInForce } from './chain-recovery.ts'
import { MAX_FUTURE_MS } from './chain-rules.ts'
import { type Did, didPublicKey } from './did.ts'
import { didCodec, signatureCodec } from './keys.ts'
import type { ChainEntry, RecoveryPolicy } from './types.ts'

/**
 * # Ending a recovery by its trustees
 *
 * ```text
 * cancellation = u8 1 || bytes32 did || bytes32 previous || bytes16 recovery_id || list<word>(<= 32)
 * word         = bytes32 trustee || u64 time_ms || bytes64         over L("icn/recovery-cancel/v1") || did || previous || H(policy) || recovery_id || time_ms
 * ```
 *
 * Counts from as many distinct trustees on as a recovery itself needs. The owner needs none of them: a rotation to the committed keys ends every recovery.
 */
const LABEL = 'icn/recovery-cancel/v1'
const MAX_WORDS = 32

/** One trustee's word that a recovery is to end. */
export interface CancelWord {
  readonly trustee: Did
  readonly timeMs: number
  readonly signature: Signature
}

export interface RecoveryCancellation {
  readonly did: Did
  /** Hash of the entry the recovery would follow. */
  readonly previous: Uint8Array
  /** 16 bytes. */
  readonly recoveryId: Uint8Array
  readonly words: readonly CancelWord[]
}

/** Which recovery is to end, and under which policy. */
export type CancelTarget = Pick<RecoveryCancellation, 'did' | 'previous' | 'recoveryId'> & { readonly policy: RecoveryPolicy }

export const cancellationCodec: Codec<RecoveryCancellation & { _version: undefined }> = struct<RecoveryCancellation & { _version: undefined }>({
  _version: constant(1),
  did: didCodec,
  previous: bytesN(32),
  recoveryId: bytesN(16),
  words: list(struct<CancelWord>({ trustee: didCodec, timeMs: uint53, signature: signatureCodec }), MAX_WORDS),
})

export function signCancelWord(target: CancelTarget, trustee: { readonly did: Did; readonly signer: Signer }, timeMs: number): CancelWord {
  return { trustee: trustee.did, timeMs, signature: signLabeled(trustee.signer, LABEL, ...parts(target, timeMs)) }
}

/** One trustee's word by itself. @throws KithError `CHAIN_INVALID`. */
export function checkCancelWord(word: CancelWord, target: CancelTarget, judging: Pick<Judging, 'now' | 'chainOf'>): void {
  checkTerms(word, target, judging.now)
  if (!holds(word, target, judging.chainOf)) throw invalidChain('a cancellation does not verify')
}

function checkTerms(word: CancelWord, target: CancelTarget, now: number): void {
  if (word.timeMs > now + MAX_FUTURE_MS) throw invalidChain('a cancellation is dated more than 24 h ahead')
  if (!target.policy.trustees.includes(word.trustee)) throw invalidChain('a cancellation is not by a trustee')
}

function holds(word: CancelWord, target: CancelTarget, chainOf: Judging['chainOf']): boolean {
  const keys = keysAtTime(word.trustee, word.timeMs, chainOf?.(word.trustee))
  return keys.some((key) => verifyLabeled(key, word.signature, LABEL, ...parts(target, word.timeMs)))
}

/**
 * As with a recovery, a word that does not hold under what is known here of its trustee counts for nothing and takes nothing from the others.
 * @throws KithError `CHAIN_INVALID` unless as many distinct trustees as a recovery needs said so.
 */
export function judgeCancellation(
  before: { readonly entries: readonly ChainEntry[]; readonly adoptedMs: readonly number[] },
  cancellation: RecoveryCancellation,
  judging: Judging,
): void {
  const policy = policyInForce(before.entries, before.adoptedMs, judging.atMs)
  if (policy === undefined) throw invalidChain('a cancellation without a policy that allows it')
  const { words } = cancellation
  if (new Set(words.map((word) => word.trustee)).size !== words.length) throw invalidChain('a trustee cancels twice')
  const target = { ...cancellation, policy }
  for (const word of words) checkTerms(word, target, judging.now)
  if (words.length < policy.threshold) throw invalidChain('the cancellations are fewer than the threshold')
  if (words.filter((word) => holds(word, target, judging.chainOf)).length < policy.threshold) throw invalidChain('a cancellation does not verify')
}

function parts({ did, previous, policy, recoveryId }: CancelTarget, timeMs: number): readonly Uint8Array[] {
  return [didPublicKey(did), previous, policyHash(policy), recoveryId, encode(u64, BigInt(timeMs))]
}
