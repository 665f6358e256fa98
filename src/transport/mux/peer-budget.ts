import type { Clock } from '../../core/clock.ts'
import { IDLE_FRAMES, LATE_BYTES, PING_BURST, PINGS_PER_SECOND, RESET_BURST, RESETS_PER_SECOND, TokenBucket } from './limits.ts'

/** What a peer may do without use: each method says whether it was still within its budget. Honest peers never come near. */
export class PeerBudget {
  readonly #resets: TokenBucket
  readonly #pings: TokenBucket
  #idle = IDLE_FRAMES
  #late = 0

  constructor(clock: Clock) {
    this.#resets = new TokenBucket(clock, RESET_BURST, RESETS_PER_SECOND)
    this.#pings = new TokenBucket(clock, PING_BURST, PINGS_PER_SECOND)
  }

  reset(): boolean {
    return this.#resets.take()
  }

  ping(): boolean {
    return this.#pings.take()
  }

  /** A frame without effect. Other implementations credit every data frame, so each frame sent allows one. */
  idle(): boolean {
    this.#idle -= 1
    return this.#idle >= 0
  }

  frameSent(): void {
    this.#idle += 1
  }

  /** We reset a stream with `window` bytes left: so much may still be under way. */
  streamReset(window: number): void {
    this.#late += window + LATE_BYTES
  }

  /** Payload for a stream that is over. */
  late(bytes: number): boolean {
    this.#late -= bytes
    return this.#late >= 0
  }
}
