import { type Clock, sleep, type Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { Fifo } from './fifo.ts'
import { FLAG_ACK, FLAG_SYN } from './frames.ts'
import { OWN_PING_BURST, OWN_PINGS_PER_SECOND, PING_TIMEOUT_MS, PONGS_WAITING, TokenBucket } from './limits.ts'
import type { PeerBudget } from './peer-budget.ts'

/** What liveness needs of its connection. */
export interface LivenessPort {
  readonly clock: Clock
  readonly blocked: boolean
  sendPing(flags: number, opaque: number): void
  /** The peer has been silent for too long. */
  silent(): void
}

/** Pings of both sides, and the question asked of a peer that has said nothing for `keepAliveMs`. */
export class Liveness {
  readonly #port: LivenessPort
  readonly #keepAliveMs: number
  readonly #pings = new Map<number, (error: unknown) => void>()
  readonly #pongs = new Fifo<number>()
  readonly #tokens: TokenBucket
  #nextPing = 1
  #timer: Timer | null = null
  /** Something arrived since the timer last fired. */
  #heard = true
  #asked = false
  #over: KithError | null = null

  constructor(port: LivenessPort, keepAliveMs: number) {
    this.#port = port
    this.#keepAliveMs = keepAliveMs
    this.#tokens = new TokenBucket(port.clock, OWN_PING_BURST, OWN_PINGS_PER_SECOND)
    this.#arm()
  }

  heard(): void {
    this.#heard = true
  }

  /** Beyond the rate that peers accept a question waits. */
  async ping(signal: AbortSignal | undefined): Promise<number> {
    const { clock } = this.#port
    while (!this.#tokens.take()) await sleep(clock, 1000 / OWN_PINGS_PER_SECOND, signal)
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      if (this.#over !== null) return reject(this.#over)
      const opaque = this.#ask((error) => {
        timer.cancel()
        signal?.removeEventListener('abort', abort)
        if (error === null) resolve(clock.monotonic() - sentAt)
        else reject(error)
      })
      const sentAt = clock.monotonic()
      const give = (error: unknown): boolean => this.#settle(opaque, error)
      const abort = (): boolean => give(signal?.reason)
      const timer = clock.after(PING_TIMEOUT_MS, () => give(new KithError('TIMEOUT', 'The peer did not answer a ping.')))
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /** A PING frame arrived. False when the peer asks for more than it may. */
  received(flags: number, opaque: number, budget: PeerBudget): boolean {
    if (flags === FLAG_ACK) return this.#settle(opaque, null) || budget.idle()
    if (!budget.ping() || this.#pongs.size >= PONGS_WAITING) return false
    if (this.#port.blocked) this.#pongs.push(opaque)
    else this.#port.sendPing(FLAG_ACK, opaque)
    return true
  }

  /** The pipe takes bytes again. */
  drained(): void {
    for (let opaque = this.#pongs.shift(); opaque !== undefined; opaque = this.#pongs.shift()) this.#port.sendPing(FLAG_ACK, opaque)
  }

  end(error: KithError): void {
    this.#over = error
    this.#timer?.cancel()
    for (const opaque of [...this.#pings.keys()]) this.#settle(opaque, error)
  }

  #ask(settle: (error: unknown) => void): number {
    const opaque = this.#nextPing
    this.#nextPing = (opaque + 1) >>> 0
    this.#pings.set(opaque, settle)
    this.#port.sendPing(FLAG_SYN, opaque)
    return opaque
  }

  #settle(opaque: number, error: unknown): boolean {
    const settle = this.#pings.get(opaque)
    if (settle === undefined) return false
    this.#pings.delete(opaque)
    settle(error)
    return true
  }

  #arm(): void {
    if (this.#keepAliveMs === 0) return
    this.#timer = this.#port.clock.after(this.#keepAliveMs, () => {
      if (this.#heard) this.#asked = false
      else if (this.#asked) return this.#port.silent()
      else {
        this.#asked = true
        this.#ask(() => {})
      }
      this.#heard = false
      this.#arm()
    })
  }
}
