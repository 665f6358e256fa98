import type { Clock, Timer } from '../core/clock.ts'
import type { Cancellable } from './cancellation.ts'

export interface Expiring extends Cancellable {
  /** In the clock's monotonic time; infinite for none. */
  readonly expiresAt: number
  expire(): void
  /** Neighbours in the list: belong to `Deadlines`. A list that goes through its entries costs nothing to leave, and leaves nothing behind. */
  earlier: Expiring | undefined
  later: Expiring | undefined
}

/** The calls under way and their deadlines, with one timer: armed for the first of them, it looks through all and is armed again. */
export class Deadlines {
  readonly #clock: Clock
  #first: Expiring | undefined
  #last: Expiring | undefined
  #timer: Timer | undefined
  #armedFor: number = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** An entry that is not in it. */
  add(entry: Expiring): void {
    entry.earlier = this.#last
    if (this.#last === undefined) this.#first = entry
    else this.#last.later = entry
    this.#last = entry
    if (entry.expiresAt < this.#armedFor) this.#arm(entry.expiresAt)
  }

  delete(entry: Expiring): void {
    const { earlier, later } = entry
    if (earlier === undefined && this.#first !== entry) return
    if (earlier === undefined) this.#first = later
    else earlier.later = later
    if (later === undefined) this.#last = earlier
    else later.earlier = earlier
    entry.earlier = undefined
    entry.later = undefined
  }

  /** In the order they came. */
  all(): Expiring[] {
    const all: Expiring[] = []
    for (let entry = this.#first; entry !== undefined; entry = entry.later) all.push(entry)
    return all
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
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
    for (let entry = this.#first; entry !== undefined; entry = entry.later) {
      if (entry.expiresAt <= now) due.push(entry)
      else if (entry.expiresAt < next) next = entry.expiresAt
    }
    // Whoever expires leaves by itself.
    for (const entry of due) entry.expire()
    if (next < this.#armedFor) this.#arm(next)
  }
}
