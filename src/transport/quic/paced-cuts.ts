import type { Clock, Timer } from '../../core/clock.ts'
import { Fifo } from '../mux/fifo.ts'
import { OWN_RESET_BURST, OWN_RESETS_PER_SECOND, TokenBucket } from '../mux/limits.ts'
import type { Control } from './frames.ts'

type Cut = Control<'reset' | 'stop'>

/** Our resets and stops, kept below the rate at which a peer ends the connection. The native reset never waits, only its code. */
export class PacedCuts {
  readonly #clock: Clock
  readonly #send: (message: Cut) => void
  readonly #tokens: TokenBucket
  readonly #waiting = new Fifo<Cut>()
  #timer: Timer | undefined

  constructor(clock: Clock, send: (message: Cut) => void) {
    this.#clock = clock
    this.#send = send
    this.#tokens = new TokenBucket(clock, OWN_RESET_BURST, OWN_RESETS_PER_SECOND)
  }

  send(message: Cut): void {
    if (this.#waiting.size === 0 && this.#tokens.take()) {
      this.#send(message)
      return
    }
    this.#waiting.push(message)
    this.#arm()
  }

  close(): void {
    this.#timer?.cancel()
    this.#waiting.clear()
  }

  #arm(): void {
    this.#timer ??= this.#clock.after(Math.ceil(1_000 / OWN_RESETS_PER_SECOND), () => {
      this.#timer = undefined
      for (let next = this.#waiting.peek(); next !== undefined && this.#tokens.take(); next = this.#waiting.peek()) {
        this.#waiting.shift()
        this.#send(next)
      }
      if (this.#waiting.size > 0) this.#arm()
    })
  }
}
