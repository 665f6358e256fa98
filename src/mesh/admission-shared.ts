import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import { TokenBucket } from './admission-rate.ts'
import type { BucketConstraint } from './types.ts'

/** Rates are remembered for so many that have no link now. */
const REMEMBERED = 4_096

interface Rate {
  readonly messagesPerSecond: number
  readonly burst: number
}

/** Token buckets by owner: connecting again refills nothing. */
export class Rates {
  readonly #clock: Clock
  readonly #left: Lru<string, TokenBucket> = new Lru(REMEMBERED)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  of(whose: string, { messagesPerSecond, burst }: Rate): TokenBucket {
    const known = this.#left.get(whose)
    known?.resize(messagesPerSecond, burst)
    return known ?? new TokenBucket(this.#clock, messagesPerSecond, burst)
  }

  /** Its last link has ended. */
  keep(whose: string, bucket: TokenBucket): void {
    this.#left.set(whose, bucket)
  }
}

/** What all who come through one introducer share (PN-11). */
export interface SharedAccount {
  readonly key: string
  limits: BucketConstraint
  readonly bucket: TokenBucket
  links: number
}

/** One per introducer of somebody linked, so it is bounded by the links themselves. */
export class SharedAccounts {
  readonly #rates: Rates
  readonly #accounts: Map<string, SharedAccount> = new Map()

  constructor(rates: Rates) {
    this.#rates = rates
  }

  /** The account to join; none for a peer that is charged alone. @throws KithError `BUDGET_EXCEEDED` when those who share it have all its links. */
  find(limits: BucketConstraint | undefined): SharedAccount | undefined {
    if (limits === undefined) return undefined
    const known = this.#accounts.get(limits.key)
    if (known !== undefined && known.links >= limits.links) {
      throw new KithError('BUDGET_EXCEEDED', 'peers that come through one introducer have as many links as they share', { details: { limit: limits.links } })
    }
    return known ?? { key: limits.key, limits, bucket: this.#rates.of(`via ${limits.key}`, limits), links: 0 }
  }

  join(account: SharedAccount | undefined): void {
    if (account === undefined) return
    account.links++
    this.#accounts.set(account.key, account)
  }

  part(account: SharedAccount | undefined): void {
    if (account === undefined || --account.links > 0) return
    this.#accounts.delete(account.key)
    this.#rates.keep(`via ${account.key}`, account.bucket)
  }

  /** The table of limits has changed. */
  retune(account: SharedAccount, limits: BucketConstraint): void {
    if (limits === account.limits) return
    account.limits = limits
    account.bucket.resize(limits.messagesPerSecond, limits.burst)
  }
}
