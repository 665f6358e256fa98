import type { Clock } from '../../core/clock.ts'

/**
 * # Polling for an answer
 *
 * A process without work sleeps in the kernel, and to wake it can cost more than a small call does: on a virtual machine 20 to 30 us, twice for each call.
 * A connection on which words go to and fro within the limit may keep the event loop turning instead, from a flush to the next arrival, for at most the limit:
 *
 * ```text
 * flush ---- turns of the loop, each looks at all sockets and timers ---- arrival
 * flush ---- turns ---- limit | asleep ----------------------------------- arrival      in vain
 * ```
 *
 * It does so only where that makes arrivals come sooner. Where both sides share a processor, or others keep it busy, whoever polls stands in the way of the answer.
 * So both ways are tried, eight exchanges of every 256 the other way than the rest, and the shorter mean wait decides. A pause, a wait beyond 10 ms, is followed by
 * sleep; so is a third flush without an arrival, which is bulk. Linux does the same for virtual processors that would halt (`haltpoll`,
 * by default for 200 us).
 */
export class Poller {
  readonly #clock: Clock
  readonly #limitUs: () => number
  readonly #nextTurn: (run: () => void) => void
  /** When the last flush left; -1 when something has arrived since. */
  #sentAt = -1
  /** Flushes since the last arrival. */
  #flushes = 0
  /** Whether this exchange polls; whether exchanges do that are no trial. */
  #polls = false
  #usual = false
  /** Of every `PERIOD`; the first `TRIAL` are the trial. */
  #exchange = 0
  #lastWait: number = PAUSE_MS
  readonly #slept: Mean = new Mean()
  readonly #polled: Mean = new Mean()
  /** Until when the loop turns, 0 when it need not. */
  #until = 0
  #turns = 0
  #turning = false

  /** @param limitUs asked at each flush; 0 never polls. */
  constructor(clock: Clock, limitUs: () => number, nextTurn: (run: () => void) => void = onNextTurn) {
    this.#clock = clock
    this.#limitUs = limitUs
    this.#nextTurn = nextTurn
  }

  /** Bytes leave. */
  sent(): void {
    const limitMs = this.#limitUs() / 1_000
    this.#until = 0
    if (limitMs === 0) return
    const now = this.#clock.monotonic()
    this.#sentAt = now
    if (++this.#flushes === 1) this.#polls = this.#lastWait < PAUSE_MS && (this.#exchange < TRIAL ? !this.#usual : this.#usual)
    if (!this.#polls || this.#flushes > FEW_FLUSHES) return
    this.#until = now + limitMs
    this.#turns = 0
    if (this.#turning) return
    this.#turning = true
    this.#nextTurn(this.#turn)
  }

  /** Bytes have arrived. */
  received(): void {
    this.#until = 0
    if (this.#sentAt < 0) return
    this.#lastWait = this.#clock.monotonic() - this.#sentAt
    this.#sentAt = -1
    const answered = this.#flushes <= FEW_FLUSHES && this.#lastWait < PAUSE_MS
    this.#flushes = 0
    if (answered) this.#count(this.#lastWait)
  }

  /** The connection is over. */
  end(): void {
    this.#until = 0
  }

  #count(wait: number): void {
    const way = this.#polls ? this.#polled : this.#slept
    way.add(wait)
    this.#exchange++
    if (this.#exchange === TRIAL) this.#usual = this.#polled.value < this.#slept.value
    else if (this.#exchange > TRIAL && this.#usual && this.#polled.value >= this.#slept.value) this.#usual = false
    else if (this.#exchange === PERIOD) {
      this.#exchange = 0
      // What the trial is about is found out anew.
      const tried = this.#usual ? this.#slept : this.#polled
      tried.forget()
    }
  }

  readonly #turn = (): void => {
    if (this.#until === 0) {
      this.#turning = false
      return
    }
    // A clock that stands still must not keep the loop busy for ever.
    if (++this.#turns <= MAX_TURNS && this.#clock.monotonic() < this.#until) {
      this.#nextTurn(this.#turn)
      return
    }
    this.#turning = false
    this.#until = 0
    // Once in vain is enough of a trial.
    if (this.#exchange < TRIAL) this.#exchange = TRIAL - 1
  }
}

const onNextTurn = (run: () => void): void => void setImmediate(run)

/** The most that may be set, in us. */
export const MAX_POLL_US = 1_000

/** Longer waits are those of a connection that has nothing to say. */
const PAUSE_MS = 10
const MEAN_OVER = 16
/** More than that beyond the mean counts as that. */
const LATE_MS = 0.2
const TRIAL = 8
const PERIOD = 256
const FEW_FLUSHES = 2
const MAX_TURNS = 10_000

/** Of the last 16 or so, in ms; of none yet, beyond all. One that was late by far, since somebody collected garbage, must not decide for the rest. */
class Mean {
  value: number = PAUSE_MS
  #count = 0

  add(wait: number): void {
    if (this.#count < MEAN_OVER) this.#count++
    if (this.#count === 1) this.value = wait
    else this.value += (Math.min(wait, this.value + LATE_MS) - this.value) / this.#count
  }

  forget(): void {
    this.value = PAUSE_MS
    this.#count = 0
  }
}
