import { toHex } from '../core/bytes.ts'
import type { Random } from '../core/random.ts'

/** In hex, what the ids of some requests are cut from. Small, because a piece keeps all of it in memory for as long as somebody remembers the piece. */
const POOL_BYTES = 768
const SPAN_LENGTH = 16
const TRACE_LENGTH = 32

/** Ids of requests and traces: random so that they differ, not secret, taken from a pool because asking for a few bytes costs as much as for many. */
export class TraceIds {
  readonly #random: Random
  #pool = ''
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
    if (this.#at + length > this.#pool.length) {
      this.#pool = toHex(this.#random.bytes(POOL_BYTES))
      this.#at = 0
    }
    this.#at += length
    return this.#pool.slice(this.#at - length, this.#at)
  }
}
