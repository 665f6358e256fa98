import type { Clock, Timer } from '../core/clock.ts'
import type { Scheduler } from './scheduler.ts'

/** How a machine's clock differs from the true one. */
export interface ClockOptions {
  /** Wall time ahead of the true one, ms. Default 0. */
  readonly skewMs?: number
  /** How much faster both clocks run: 0.0001 gains 8.64 s a day. Default 0. */
  readonly drift?: number
}

/** The true wall time at which every simulation begins: 15 January 2027, 08:00 UTC. */
export const START_MS = 1_800_000_000_000

/** What a machine takes for the time. Goes on through restarts of the node. */
export class MachineClock {
  readonly #scheduler: Scheduler
  readonly #rate: number
  #skewMs: number

  constructor(scheduler: Scheduler, options: ClockOptions = {}) {
    const { skewMs = 0, drift = 0 } = options
    if (!Number.isFinite(skewMs)) throw new TypeError('skewMs must be a number of ms')
    if (!(drift > -1 && drift < 1)) throw new TypeError('drift must lie between -1 and 1')
    this.#scheduler = scheduler
    this.#skewMs = skewMs
    this.#rate = 1 + drift
  }

  now(): number {
    return Math.floor(START_MS + this.#skewMs + this.monotonic())
  }

  monotonic(): number {
    return this.#scheduler.now * this.#rate
  }

  /** The owner, or a bad time server, moves the wall clock; timers are not touched. */
  jump(ms: number): void {
    if (!Number.isFinite(ms)) throw new TypeError('a clock jumps by a number of ms')
    this.#skewMs += ms
  }

  /** For one run of the node: after `stop` nothing fires any more. */
  process(): ProcessClock {
    const scheduler = this.#scheduler
    const rate = this.#rate
    const timers = new Set<Timer>()
    let stopped = false
    return {
      now: () => this.now(),
      monotonic: () => this.monotonic(),
      after(ms, run) {
        if (stopped) return { cancel: () => undefined }
        const timer = scheduler.after(ms / rate, () => {
          timers.delete(timer)
          run()
        })
        timers.add(timer)
        return {
          cancel: () => {
            timers.delete(timer)
            timer.cancel()
          },
        }
      },
      get stopped() {
        return stopped
      },
      stop() {
        stopped = true
        for (const timer of timers) timer.cancel()
        timers.clear()
      },
    }
  }
}

export interface ProcessClock extends Clock {
  readonly stopped: boolean
  stop(): void
}
