import type { Random } from '../core/random.ts'

const POOL_BYTES = 4_096
const SPAN_BYTES = 8
const TRACE_BYTES = 16

/** Ids of requests and traces: random so that they differ, not secret, taken from a pool because asking for a few bytes costs as much as for many. */
export class TraceIds {
  readonly #random: Random
  readonly #pool: Buffer = Buffer.alloc(POOL_BYTES)
  #at: number = POOL_BYTES

  constructor(random: Random) {
    this.#random = random
  }

  /** 8 bytes in hex. */
  span(): string {
    return this.#take(SPAN_BYTES)
  }

  /** 16 bytes in hex. */
  trace(): string {
    return this.#take(TRACE_BYTES)
  }

  #take(length: number): string {
    if (this.#at + length > POOL_BYTES) {
      this.#random.fill(this.#pool)
      this.#at = 0
    }
    this.#at += length
    return this.#pool.toString('hex', this.#at - length, this.#at)
  }
}
