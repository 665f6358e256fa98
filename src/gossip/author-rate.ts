import type { Clock } from '../core/clock.ts'
import { Lru } from '../core/lru.ts'
import type { Did } from '../identity/did.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'
import type { Policy } from '../mesh/types.ts'

const MAX_BUCKETS = 4_096
/** All strangers together (protocol.md). */
const STRANGERS = { messagesPerSecond: 200, burst: 200 } as const

/**
 * How fast entries of one author are taken from those that push them. Asked after the signature, so that nobody uses up the budget of somebody else. An author known through
 * an introducer shares that one's budget too, and all strangers share one (PN-11).
 */
export class AuthorRate {
  readonly #clock: Clock
  readonly #policy: Pick<Policy, 'constraints' | 'classOf'>
  readonly #buckets: Lru<string, TokenBucket> = new Lru(MAX_BUCKETS)

  constructor(clock: Clock, policy: Pick<Policy, 'constraints' | 'classOf'>) {
    this.#clock = clock
    this.#policy = policy
  }

  take(author: Did): boolean {
    const limits = this.#policy.constraints(author)
    const buckets = [this.#bucket(author, limits)]
    if (limits.bucket !== undefined) buckets.push(this.#bucket(`via ${limits.bucket.key}`, limits.bucket))
    if (this.#policy.classOf(author) === 'isolated') buckets.push(this.#bucket('strangers', STRANGERS))
    if (!buckets.every((bucket) => bucket.peek())) return false
    for (const bucket of buckets) bucket.take()
    return true
  }

  /** Other limits, another bucket. */
  #bucket(name: string, { messagesPerSecond, burst }: { readonly messagesPerSecond: number; readonly burst: number }): TokenBucket {
    const key = `${name} ${messagesPerSecond} ${burst}`
    const known = this.#buckets.get(key)
    if (known !== undefined) return known
    const bucket = new TokenBucket(this.#clock, messagesPerSecond, messagesPerSecond + burst)
    this.#buckets.set(key, bucket)
    return bucket
  }
}
