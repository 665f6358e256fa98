import type { RecoveryStage, RecoveryStatus } from '../../../recovery/types.ts'
import type { Json, Nothing, WithSecret } from '../route.ts'

export interface PersonShown {
  readonly did: string
  /** As in the address book of this node; of the node itself, what it is called. */
  readonly name: string | null
}

export interface RecoveryPolicyShown {
  readonly threshold: number
  /** Attestations that not even a rotation stops; 0 for none. */
  readonly override: number
  readonly delay_s: number
  readonly trustees: readonly PersonShown[]
}

/** Who may recover this node's identity. */
export interface RecoverySetup {
  readonly did: string
  readonly in_force: RecoveryPolicyShown | null
  /** A change that takes effect after the delay of the one before. */
  readonly later: { readonly policy: RecoveryPolicyShown | null; readonly from: string } | null
}

export interface RecoveryShown {
  readonly id: string
  readonly of: PersonShown
  readonly stage: RecoveryStage
  readonly role: RecoveryStatus['role']
  readonly requested_at: string
  readonly policy: RecoveryPolicyShown
  readonly attested_by: readonly PersonShown[]
  readonly cancelled_by: readonly PersonShown[]
  /** As it stands in the text that trustees sign. */
  readonly new_key: string
  readonly complete_at: string | null
  readonly effective_at: string | null
  /** No rotation stops it. */
  readonly overrides: boolean
  readonly attested_here: boolean
  readonly cancelled_here: boolean
  /** To be compared by voice; for its requester and for trustees. */
  readonly words: string | null
}

interface Id {
  /** Or the beginning of it. */
  readonly id: string
}

/** Giving identities back to their owners by trustees. */
export interface RecoveryApi {
  'GET /v1/recovery': Json<Nothing, { readonly setup: RecoverySetup; readonly recoveries: readonly RecoveryShown[] }>
  /** `trustees`: DIDs or names, with commas. */
  'POST /v1/recovery/setup': WithSecret<
    { readonly trustees: string; readonly threshold: number; readonly override: number; readonly delay_s: number },
    RecoverySetup
  >
  'POST /v1/recovery/initiate': WithSecret<{ readonly did: string }, RecoveryShown>
  /** Takes a text that was brought by hand. */
  'POST /v1/recovery/take': Json<{ readonly text: string }, RecoveryShown>
  'POST /v1/recovery/text': Json<Id, { readonly id: string; readonly texts: readonly string[] }>
  'POST /v1/recovery/show': Json<Id, RecoveryShown>
  /** `words`: what the person who asks read out. */
  'POST /v1/recovery/attest': WithSecret<Id & { readonly words: string }, RecoveryShown>
  /** As a trustee; an owner rotates. */
  'POST /v1/recovery/cancel': WithSecret<Id, RecoveryShown>
  'POST /v1/recovery/finalize': WithSecret<Nothing, { readonly did: string; readonly index: number; readonly recovery_id: string }>
}
