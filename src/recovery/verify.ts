import { equal } from '../core/bytes.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { checkCancelWord, type RecoveryCancellation } from '../identity/chain-cancellation.ts'
import { checkAttestation, policyInForce, samePolicy } from '../identity/chain-recovery.ts'
import { checkEntry } from '../identity/chain-rules.ts'
import type { Did } from '../identity/did.ts'
import type { ChainEntry, ChainState } from '../identity/types.ts'
import { type Case, newCase, requestOf, targetOf } from './case.ts'

/** What words are checked against. */
export interface Witnesses {
  readonly chainOf: (did: Did) => Promise<ChainState | undefined>
  readonly now: () => number
  readonly logger: Logger
}

/** A recovery that follows the history known here and asks under the terms its owner fixed. @throws KithError `RECOVERY_INVALID`, `RECOVERY_NO_POLICY`, `CHAIN_INVALID`. */
export function verifiedCase(entry: ChainEntry, chain: ChainState, facts: Parameters<typeof newCase>[2]): Case {
  const now = facts.seenMs
  const before = { entries: chain.entries.slice(0, entry.index), adoptedMs: chain.adoptedMs.slice(0, entry.index) }
  const last = before.entries.at(-1)
  if (last === undefined || !equal(last.hash, entry.previous)) throw invalid('it follows another history than the one known here')
  checkEntry(last, entry, now)
  const policy = policyInForce(before.entries, before.adoptedMs, now)
  if (policy === undefined) throw new KithError('RECOVERY_NO_POLICY', undefined, { details: { did: entry.did } })
  // Threshold, delay and trustees are the owner's: whoever asks for others asks for nothing.
  if (!samePolicy(entry.policy, policy)) throw invalid('it asks under other terms than the owner fixed')
  return newCase(entry, policy, facts)
}

/** Adds the attestations of `entry` that verify and are new. `doubtful`: one of them may verify once more is known of its trustee. */
export async function addAttestations(one: Case, entry: ChainEntry, witnesses: Witnesses): Promise<{ readonly added: number; readonly doubtful: boolean }> {
  let added = 0
  let doubtful = false
  for (const attestation of entry.attestations) {
    if (one.attestations.has(attestation.trustee)) continue
    const trustee = await witnesses.chainOf(attestation.trustee)
    try {
      if (!equal(attestation.recoveryId, one.id)) throw invalid('an attestation of another recovery')
      checkAttestation(attestation, requestOf(one), { requestedMs: entry.timeMs, now: witnesses.now(), chain: trustee })
      one.attestations.set(attestation.trustee, attestation)
      added++
    } catch (error) {
      if (!isKithError(error)) throw error
      // Keys that a trustee changed since are known with its history only.
      if (trustee === undefined && one.policy.trustees.includes(attestation.trustee)) doubtful = true
      witnesses.logger.debug('an attestation was not taken', { did: entry.did, trustee: attestation.trustee, reason: error.message })
    }
  }
  return { added, doubtful }
}

/** Adds the words against a recovery that verify and are new. @returns how many. */
export async function addWords(one: Case, cancellation: RecoveryCancellation, witnesses: Witnesses): Promise<number> {
  let added = 0
  for (const word of cancellation.words) {
    if (one.words.has(word.trustee)) continue
    const trustee = await witnesses.chainOf(word.trustee)
    try {
      checkCancelWord(word, targetOf(one), { now: witnesses.now(), chainOf: () => trustee })
      one.words.set(word.trustee, word)
      added++
    } catch (error) {
      if (!isKithError(error)) throw error
      witnesses.logger.debug('a word against a recovery was not taken', { did: cancellation.did, trustee: word.trustee, reason: error.message })
    }
  }
  return added
}

function invalid(reason: string): KithError {
  return new KithError('RECOVERY_INVALID', `The recovery does not verify: ${reason}.`, { details: { reason } })
}
