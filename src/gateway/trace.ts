import type { Random } from '../core/random.ts'

const POOL_BYTES = 12_288
/** In hex, what the ids of some requests are cut from. Small, because a piece keeps all of it in memory for as long as somebody remembers the piece. */
const TEXT_BYTES = 384
const SPAN_LENGTH = 16
const TRACE_LENGTH = 32

/** Ids of requests and traces: random so that they differ, not secret, taken from a pool because asking for a few bytes costs as much as for many. */
export class TraceIds {
  readonly #random: Random
  readonly #pool: Buffer = Buffer.alloc(POOL_BYTES)
  #used: number = POOL_BYTES
  #text = ''
  #at = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** 8 bytes in hex. */
  span(): string {
    return this.#take(SPAN_LENGTH)
  }

  /** 16 bytes in hex. */
  trace(): string {
    return this.#take(TRACE_LENGTH)
  }

  #take(length: number): string {
    if (this.#at + length > this.#text.length) this.#refill()
    this.#at += length
    return this.#text.slice(this.#at - length, this.#at)
  }

  #refill(): void {
    if (this.#used === POOL_BYTES) {
      this.#random.fill(this.#pool)
      this.#used = 0
    }
    this.#text = this.#pool.toString('hex', this.#used, this.#used + TEXT_BYTES)
    this.#used += TEXT_BYTES
    this.#at = 0
  }
}
