import type { Did } from '../../identity/did.ts'
import type { ConstraintSet, PeerClass } from '../types.ts'

const KIB = 1024
const MIB = 1024 * KIB

export interface Quota {
  readonly messages: number
  readonly bytes: number
}

/** How much may be kept, by class. Isolated peers share one account, others those of their introducers (PN-11). */
export interface MailboxLimits {
  /** Sealed messages that one account has left here for others. */
  readonly depositor: Readonly<Record<PeerClass, Quota>>
  /** Sealed messages kept for one peer. */
  readonly owner: Readonly<Record<PeerClass, Quota>>
  readonly total: Quota
  /** Messages of one account in the own inbox. */
  readonly inbox: Readonly<Record<PeerClass, Quota>>
  readonly inboxTotal: Quota
  /** Own messages that have not arrived yet. */
  readonly outbox: Quota
}

export const MAILBOX_LIMITS: MailboxLimits = {
  depositor: {
    isolated: { messages: 64, bytes: 1 * MIB },
    known: { messages: 256, bytes: 8 * MIB },
    partner: { messages: 1_024, bytes: 32 * MIB },
    federated: { messages: 4_096, bytes: 128 * MIB },
  },
  owner: {
    isolated: { messages: 64, bytes: 4 * MIB },
    known: { messages: 512, bytes: 16 * MIB },
    partner: { messages: 2_048, bytes: 64 * MIB },
    federated: { messages: 4_096, bytes: 128 * MIB },
  },
  total: { messages: 16_384, bytes: 256 * MIB },
  inbox: {
    isolated: { messages: 256, bytes: 4 * MIB },
    known: { messages: 2_048, bytes: 32 * MIB },
    partner: { messages: 4_096, bytes: 64 * MIB },
    federated: { messages: 8_192, bytes: 128 * MIB },
  },
  inboxTotal: { messages: 32_768, bytes: 256 * MIB },
  outbox: { messages: 8_192, bytes: 128 * MIB },
}

/** Who is charged for what a peer leaves: one account for all isolated ones, its introducer's bucket, or its own. */
export function accountOf(peer: Did, held: PeerClass, { bucket }: ConstraintSet): string {
  if (held === 'isolated') return 'isolated'
  return bucket === undefined ? peer : `by ${bucket.key}`.slice(0, 200)
}

/** Whether one more of so many bytes goes beyond the quota. */
export function isAbove(used: Quota, quota: Quota, bytes: number): boolean {
  return used.messages + 1 > quota.messages || used.bytes + bytes > quota.bytes
}

const NOTHING: Quota = { messages: 0, bytes: 0 }

/** Messages and bytes per account; accounts with nothing take no room. */
export class Ledger {
  readonly #accounts: Map<string, Quota> = new Map()

  of(account: string): Quota {
    return this.#accounts.get(account) ?? NOTHING
  }

  /** @returns takes it back, once. */
  charge(account: string, bytes: number): () => void {
    const used = this.of(account)
    this.#accounts.set(account, { messages: used.messages + 1, bytes: used.bytes + bytes })
    let charged = true
    return () => {
      if (charged) this.discharge(account, bytes)
      charged = false
    }
  }

  discharge(account: string, bytes: number): void {
    const used = this.of(account)
    if (used.messages <= 1) this.#accounts.delete(account)
    else this.#accounts.set(account, { messages: used.messages - 1, bytes: used.bytes - bytes })
  }
}
