import { KithError } from '../../core/errors.ts'
import { recoveryPolicyOf, samePolicy } from '../../identity/chain-recovery.ts'
import { MIN_DELAY_S } from '../../identity/chain-rules.ts'
import type { Did } from '../../identity/did.ts'
import type { ChainState, RecoveryPolicy } from '../../identity/types.ts'
import { rotateKeys } from '../identity/rotate.ts'
import type { OpenedIdentity } from '../identity/service.ts'

const MAX_TRUSTEES = 32
const MAX_DELAY_S = 365 * 86_400

/** The delays, thresholds and trustees of a person, checked before they stand in the history for good. */
export function policyFrom(own: Did, wanted: RecoveryPolicy): RecoveryPolicy {
  const { trustees, threshold, override, delayS } = wanted
  const distinct = [...new Set(trustees)]
  const wrong = (sentence: string): KithError => new KithError('USAGE', sentence, { next: 'kith recovery setup --help' })
  if (distinct.length !== trustees.length) throw wrong('A trustee is named twice.')
  if (distinct.length === 0 || distinct.length > MAX_TRUSTEES) throw wrong(`Name 1 to ${MAX_TRUSTEES} trustees.`)
  if (distinct.includes(own)) throw wrong('An identity is not its own trustee: it would be of no help once its keys are lost.')
  if (!Number.isInteger(threshold) || threshold < 1 || threshold > distinct.length)
    throw wrong(`--threshold is from 1 to the number of trustees, ${distinct.length}.`)
  if (override !== 0 && (override <= threshold || override > distinct.length))
    throw wrong('--override is above the threshold and at most the number of trustees.')
  if (!Number.isInteger(delayS) || delayS < MIN_DELAY_S || delayS > MAX_DELAY_S) throw wrong('--delay is from 1d to 365d.')
  return { trustees: distinct, threshold, override, delayS }
}

/** Who may recover an identity, now and from when on. */
export interface PolicyState {
  readonly inForce: RecoveryPolicy | undefined
  /** What replaces it, and when, by the clock of this machine. */
  readonly later: { readonly policy: RecoveryPolicy | undefined; readonly fromMs: number } | undefined
}

export function policyState(chain: ChainState, now: number): PolicyState {
  const inForce = recoveryPolicyOf(chain, now)
  const last = chain.entries.at(-1)?.policy
  if (inForce === undefined || samePolicy(inForce, last)) return { inForce, later: undefined }
  const unlike = chain.entries.findLastIndex((entry) => !samePolicy(entry.policy, last))
  return { inForce, later: { policy: last, fromMs: (chain.adoptedMs[unlike + 1] ?? now) + inForce.delayS * 1_000 } }
}

/** Fixes who may recover the identity, in an entry that opens the commitment: who has the present keys alone cannot do that. @throws as `rotateKeys`. */
export async function fixPolicy({ home, device, identity, options }: OpenedIdentity, policy: RecoveryPolicy): Promise<PolicyState> {
  await rotateKeys(home, device, identity, 'scheduled', { ...options, policy })
  return policyState(device.chain, (options.clock as { now(): number }).now())
}
