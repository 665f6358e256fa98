import type { Clock, Timer } from '../core/clock.ts'

export interface Expiring {
  /** In the clock's monotonic time. */
  readonly expiresAt: number
  expire(): void
}

/** The deadlines of many calls with one timer: armed for the first of them, it looks through all and is armed again. */
export class Deadlines {
  readonly #clock: Clock
  readonly #waiting: Set<Expiring> = new Set()
  #timer: Timer | undefined
  #armedFor: number = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(entry: Expiring): void {
    this.#waiting.add(entry)
    if (entry.expiresAt < this.#armedFor) this.#arm(entry.expiresAt)
  }

  delete(entry: Expiring): void {
    this.#waiting.delete(entry)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
    this.#waiting.clear()
  }

  #arm(at: number): void {
    this.#timer?.cancel()
    this.#armedFor = at
    // A timer may fire a fraction of a ms early.
    this.#timer = this.#clock.after(Math.max(0, Math.ceil(at - this.#clock.monotonic())), () => this.#fire())
  }

  #fire(): void {
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
    const now = this.#clock.monotonic()
    let next = Number.POSITIVE_INFINITY
    const due: Expiring[] = []
    for (const entry of this.#waiting) {
      if (entry.expiresAt <= now) due.push(entry)
      else if (entry.expiresAt < next) next = entry.expiresAt
    }
    for (const entry of due) {
      this.#waiting.delete(entry)
      entry.expire()
    }
    // An entry added meanwhile may have armed it already.
    if (next < this.#armedFor) this.#arm(next)
  }
}
