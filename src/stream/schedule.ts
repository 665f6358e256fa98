import { type KeyLease, leaseKey } from '../core/key-slab.ts'
import { SUMMARY_BYTES, SummaryLabel } from './transcript.ts'

/** Keys and confirmations that follow from a transcript's summary once a shared secret was committed; the same labels in both key agreements. */
const CIPHER_L2D = new SummaryLabel('noise', 'cipher_l2d')
const CIPHER_D2L = new SummaryLabel('noise', 'cipher_d2l')
const CONFIRMATION_L2D = new SummaryLabel('fork', 'confirmation_l2d')
const CONFIRMATION_D2L = new SummaryLabel('fork', 'confirmation_d2l')

export interface KeySchedule {
  readonly keyD2l: KeyLease
  readonly keyL2d: KeyLease
  readonly confirmationD2l: Uint8Array
  readonly confirmationL2d: Uint8Array
}

/** Derives everything from `summary`, which stays the caller's to wipe. */
export function deriveSchedule(summary: Uint8Array): KeySchedule {
  const keyD2l = leaseKey()
  const keyL2d = leaseKey()
  const confirmationD2l = new Uint8Array(SUMMARY_BYTES)
  const confirmationL2d = new Uint8Array(SUMMARY_BYTES)
  CIPHER_D2L.derive(keyD2l.bytes, summary)
  CIPHER_L2D.derive(keyL2d.bytes, summary)
  CONFIRMATION_D2L.derive(confirmationD2l, summary)
  CONFIRMATION_L2D.derive(confirmationL2d, summary)
  return { keyD2l, keyL2d, confirmationD2l, confirmationL2d }
}
