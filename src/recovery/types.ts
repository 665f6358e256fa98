import type { Did } from '../identity/did.ts'

/**
 * How far a recovery is, as this node sees it. `collecting`: too few attestations; `waiting`: complete, its delay runs here; `effective`: the identity has the new
 * keys; `cancelled`: its trustees ended it; `overtaken`: the owner replaced the keys first; `contested`: two histories contradict each other, a person must decide.
 */
export type RecoveryStage = 'collecting' | 'waiting' | 'effective' | 'cancelled' | 'overtaken' | 'contested'

export interface RecoveryStatus {
  /** 32 hexadecimal digits. */
  readonly id: string
  /** Whose identity it is about. */
  readonly did: Did
  readonly stage: RecoveryStage
  /** What this node is in it: its owner's identity is asked for, it asked itself, it is a trustee; else it only counts the delay. */
  readonly role: 'owner' | 'requester' | 'trustee' | 'witness'
  readonly requestedMs: number
  readonly attestedBy: readonly Did[]
  readonly cancelledBy: readonly Did[]
  readonly threshold: number
  readonly override: number
  readonly delayS: number
  readonly trustees: readonly Did[]
  /** The new key as a DID, as it stands in the text that trustees sign. */
  readonly newKey: Did
  /** When this node first saw the complete quorum, and when it takes effect here; while it waits. */
  readonly sinceMs: number | undefined
  readonly dueMs: number | undefined
  /** Enough trustees attested that no rotation stops it. */
  readonly overrides: boolean
  readonly attestedHere: boolean
  readonly cancelledHere: boolean
}

/** A recovery that became known here, or went on. */
export interface RecoveryNews {
  readonly status: RecoveryStatus
  /** Undefined when it is new here. */
  readonly before: RecoveryStage | undefined
}
