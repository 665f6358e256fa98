import type { Clock } from '../core/clock.ts'

/** A rate with a burst, refilled by the monotonic clock whenever it is asked. */
export class TokenBucket {
  readonly #clock: Clock
  #perMs: number
  #burst: number
  #tokens: number
  #at: number

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perMs = perSecond / 1000
    this.#burst = burst
    this.#tokens = burst
    this.#at = clock.monotonic()
  }

  /** Whether there are so many tokens; takes none. */
  peek(count = 1): boolean {
    const now = this.#clock.monotonic()
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs)
    this.#at = now
    return this.#tokens >= count
  }

  /** Takes `count` tokens, or none when there are fewer. */
  take(count = 1): boolean {
    if (!this.peek(count)) return false
    this.#tokens -= count
    return true
  }

  /** Another rate and burst. What is left keeps its share of the burst, so that nobody gains by changing to and fro. */
  resize(perSecond: number, burst: number): void {
    this.peek(0)
    this.#tokens *= burst / this.#burst
    this.#perMs = perSecond / 1000
    this.#burst = burst
  }
}
