import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'

const TIMEOUT_MS = 15_000
const MOST = 64

interface Waiting {
  readonly start: number
  readonly settle: (outcome: number | { readonly reason: unknown }) => void
}

/** Pings under way. The nonce is random, so that a peer cannot answer before it was asked. */
export class Pings {
  readonly #clock: Clock
  readonly #random: Random
  readonly #send: (nonce: Uint8Array) => void
  readonly #waiting = new Map<string, Waiting>()
  #closed: KithError | undefined

  constructor(clock: Clock, random: Random, send: (nonce: Uint8Array) => void) {
    this.#clock = clock
    this.#random = random
    this.#send = send
  }

  /** Round trip in ms. @throws KithError `TIMEOUT`, `BUDGET_EXCEEDED` when too many are under way, the error given to `close`; the signal's reason. */
  ping(signal?: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      if (this.#closed !== undefined) return reject(this.#closed)
      if (this.#waiting.size >= MOST) return reject(new KithError('BUDGET_EXCEEDED', 'too many pings are under way'))
      const nonce = this.#random.bytes(8)
      const key = toHex(nonce)
      const settle = (outcome: number | { readonly reason: unknown }): void => {
        this.#waiting.delete(key)
        timer.cancel()
        signal?.removeEventListener('abort', abort)
        if (typeof outcome === 'number') resolve(outcome)
        else reject(outcome.reason)
      }
      const abort = (): void => settle({ reason: signal?.reason })
      const timer = this.#clock.after(TIMEOUT_MS, () => settle({ reason: new KithError('TIMEOUT', 'the peer did not answer a ping') }))
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.set(key, { start: this.#clock.monotonic(), settle })
      this.#send(nonce)
    })
  }

  pong(nonce: Uint8Array): void {
    const waiting = this.#waiting.get(toHex(nonce))
    waiting?.settle(this.#clock.monotonic() - waiting.start)
  }

  close(error: KithError): void {
    this.#closed = error
    for (const waiting of [...this.#waiting.values()]) waiting.settle({ reason: error })
  }
}
