import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { Lru } from '../../core/lru.ts'
import type { Did } from '../../identity/did.ts'
import { TokenBucket } from '../../mesh/admission-rate.ts'
import type { Policy } from '../../mesh/types.ts'

/** Transfers to all peers together. */
const MAX_TRANSFERS = 64
/** Peers whose rate of questions is remembered. */
const MAX_RATES = 4_096

/**
 * Who may fetch how much at once: as many transfers as the peer's class may have requests outstanding, and as many new ones a second as it may send messages.
 * Peers that share an introducer's budget share these too (PN-11).
 */
export class Slots {
  readonly #clock: Clock
  readonly #policy: Pick<Policy, 'constraints'>
  readonly #rates: Lru<string, TokenBucket> = new Lru(MAX_RATES)
  readonly #taken: Map<string, number> = new Map()
  #total = 0

  constructor(components: { readonly clock: Clock; readonly policy: Pick<Policy, 'constraints'> }) {
    this.#clock = components.clock
    this.#policy = components.policy
  }

  /** Transfers under way. */
  get total(): number {
    return this.#total
  }

  /** Counts a question before anything is done for it. */
  mayAsk(peer: Did): boolean {
    const { bucket, messagesPerSecond, burst } = this.#policy.constraints(peer)
    const key = bucket?.key ?? peer
    let rate = this.#rates.get(key)
    if (rate === undefined) {
      rate = new TokenBucket(this.#clock, bucket?.messagesPerSecond ?? messagesPerSecond, bucket?.burst ?? burst)
      this.#rates.set(key, rate)
    }
    return rate.take()
  }

  /** Takes a place; the returned function gives it back. @throws KithError `BUDGET_EXCEEDED`. */
  take(peer: Did): () => void {
    const { bucket, outstandingRequests } = this.#policy.constraints(peer)
    const key = bucket?.key ?? peer
    const count = this.#taken.get(key) ?? 0
    if (count >= outstandingRequests || this.#total >= MAX_TRANSFERS) throw new KithError('BUDGET_EXCEEDED', 'too many transfers at once')
    this.#taken.set(key, count + 1)
    this.#total++
    let given = false
    return () => {
      if (given) return
      given = true
      this.#total--
      const left = (this.#taken.get(key) ?? 1) - 1
      if (left === 0) this.#taken.delete(key)
      else this.#taken.set(key, left)
    }
  }
}
