import type { Clock } from '../core/clock.ts'

/** Failures in a row after which a worker gets no calls for a while. */
const FAILURES_IN_A_ROW = 5
/** Answers that a latency is judged by, how much slower than the others is too slow, and below what it never is. */
const LATENCY_SAMPLES = 20
const LATENCY_FACTOR = 5
export const LATENCY_FLOOR_MS = 100
const LATENCY_WEIGHT = 0.1
/** The first pause; the n-th in a row is n times as long. */
const EJECTED_MS = 30_000
const LONGEST_EJECTED_MS = 300_000
/** A time-out speaks against a worker only when it had this long: callers choose deadlines. */
export const TELLING_TIMEOUT_MS = 5_000

/**
 * What a head has seen of one worker: whether it fails or is much slower than the others that do the same. A worker that is put aside comes back with one call; only
 * when that ends well does it get more.
 */
export class Health {
  calls = 0
  failures = 0
  /** Moving average in ms; 0 before the first answer. */
  latencyMs = 0
  #samples = 0
  #inARow = 0
  #ejections = 0
  #ejectedUntil: number | undefined
  #probing = false
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get ejected(): boolean {
    return this.#ejectedUntil !== undefined
  }

  /** `open`: takes calls. `probe`: put aside long enough, the next call tries it. `closed`: put aside, or being tried. */
  get state(): 'open' | 'probe' | 'closed' {
    if (this.#ejectedUntil === undefined) return 'open'
    return this.#probing || this.#clock.monotonic() < this.#ejectedUntil ? 'closed' : 'probe'
  }

  /** A call goes there. @returns whether it is the one that tries the worker. */
  began(): boolean {
    this.calls++
    if (this.state !== 'probe') return false
    this.#probing = true
    return true
  }

  succeeded(tookMs: number | undefined, probe: boolean): void {
    this.#inARow = 0
    if (tookMs !== undefined) {
      this.latencyMs = this.#samples === 0 ? tookMs : this.latencyMs + (tookMs - this.latencyMs) * LATENCY_WEIGHT
      this.#samples++
    }
    if (!probe) return
    this.#probing = false
    this.#ejectedUntil = undefined
    // What it was before it was put aside says nothing about it now.
    this.#samples = 0
  }

  /** @returns whether it should be put aside. */
  failed(probe: boolean): boolean {
    this.failures++
    this.#inARow++
    if (probe) {
      this.eject()
      return false
    }
    return this.#ejectedUntil === undefined && this.#inARow >= FAILURES_IN_A_ROW
  }

  /** A call ended in a way that says nothing about the worker. */
  ended(probe: boolean): void {
    if (probe) this.#probing = false
  }

  /** Whether it is much slower than the others: `median` is theirs. */
  tooSlow(median: number): boolean {
    return this.#samples >= LATENCY_SAMPLES && this.latencyMs > LATENCY_FLOOR_MS && this.latencyMs > median * LATENCY_FACTOR
  }

  eject(): void {
    this.#probing = false
    this.#inARow = 0
    this.#ejections++
    this.#ejectedUntil = this.#clock.monotonic() + Math.min(LONGEST_EJECTED_MS, EJECTED_MS * this.#ejections)
  }
}

/** Middle of the latencies that are known; `undefined` without any. */
export function medianLatency(others: readonly Health[]): number | undefined {
  const known = others.flatMap(({ latencyMs }) => (latencyMs > 0 ? [latencyMs] : [])).sort((a, b) => a - b)
  return known[Math.floor(known.length / 2)]
}
