import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { Lru } from '../../core/lru.ts'
import type { Did } from '../../identity/did.ts'
import type { ConstraintSet } from '../types.ts'

/**
 * # Rates
 *
 * A bucket of tokens per identity, filled at its class's rate up to its burst, and one per introducer where the policy names it (PN-11): a peer that nobody here
 * vouches for directly pays from both, so that a crowd behind one friend weighs as one, and none of it crowds the others out.
 *
 * Charged only for what a verified signature says its sender sent: nobody spends another's budget. When limits change, the tokens left are scaled with the
 * capacity: a new class gives no fresh budget.
 */
export interface RateComponents {
  readonly clock: Clock
  readonly constraints: (did: Did) => ConstraintSet
  /** Buckets that are remembered; of the others the one used longest ago is forgotten. Default 16,384. */
  readonly limit?: number
}

interface Bucket {
  tokens: number
  atMs: number
  perMs: number
  capacity: number
}

const DEFAULT_LIMIT = 16_384

export class RateLimiter {
  readonly #clock: Clock
  readonly #constraints: (did: Did) => ConstraintSet
  readonly #buckets: Lru<string, Bucket>

  constructor({ clock, constraints, limit = DEFAULT_LIMIT }: RateComponents) {
    this.#clock = clock
    this.#constraints = constraints
    this.#buckets = new Lru(limit)
  }

  /** Takes `count` tokens of this identity's, or none when there are fewer. */
  take(did: Did, count = 1): boolean {
    const limits = this.#constraints(did)
    const own = this.#bucket(did, limits.messagesPerSecond, limits.burst)
    if (own.tokens < count) return false
    const { bucket } = limits
    if (bucket !== undefined) {
      const shared = this.#bucket(`by ${bucket.key}`, bucket.messagesPerSecond, bucket.burst)
      if (shared.tokens < count) return false
      shared.tokens -= count
    }
    own.tokens -= count
    return true
  }

  /** @throws KithError `RATE_LIMITED`. */
  charge(did: Did, count = 1): void {
    if (!this.take(did, count)) throw new KithError('RATE_LIMITED')
  }

  /** Tokens that an identity has left of its own; for tests and `status`. */
  left(did: Did): number {
    const limits = this.#constraints(did)
    return this.#bucket(did, limits.messagesPerSecond, limits.burst).tokens
  }

  #bucket(key: string, perSecond: number, capacity: number): Bucket {
    const now = this.#clock.monotonic()
    const known = this.#buckets.get(key)
    if (known === undefined) {
      const fresh = { tokens: capacity, atMs: now, perMs: perSecond / 1000, capacity }
      this.#buckets.set(key, fresh)
      return fresh
    }
    // The time until now was lived under the old limits.
    known.tokens = Math.min(known.capacity, known.tokens + (now - known.atMs) * known.perMs)
    known.atMs = now
    if (known.capacity !== capacity) {
      known.tokens *= capacity / known.capacity
      known.capacity = capacity
    }
    known.perMs = perSecond / 1000
    return known
  }
}
