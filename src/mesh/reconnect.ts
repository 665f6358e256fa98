import type { PublicKey } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { Did } from '../identity/did.ts'

/** PN-8: full jitter, 1 s doubling to 5 min, reset after a minute up. */
export const BASE_MS = 1_000
export const CAP_MS = 300_000
export const STEADY_MS = 60_000
/** Whoever is woken spreads over this. */
const WAKE_MS = 250

/** A device that should be linked: a peer of the address book and one of its machines, or any machine when no key is known yet. */
export interface Target {
  readonly id: string
  readonly did: Did
  readonly linkKey: PublicKey | undefined
}

export interface ReconnectComponents {
  readonly clock: Clock
  readonly random: Random
  /** All devices that should be linked. */
  readonly targets: () => readonly Target[]
  readonly connected: (target: Target) => boolean
  readonly dial: (target: Target, signal: AbortSignal) => Promise<unknown>
}

interface Attempt {
  target: Target
  failures: number
  timer: Timer | undefined
  dueAt: number
  upSince: number | undefined
  lastError: KithError | undefined
  running: AbortController | undefined
}

export interface RetryStatus {
  readonly state: 'connecting' | 'waiting' | 'idle'
  readonly retryInMs: number | null
  readonly lastError: KithError | undefined
}

/** Keeps the peers of the address book linked. */
export class Reconnector {
  readonly #components: ReconnectComponents
  readonly #attempts: Map<string, Attempt> = new Map()
  #started = false

  constructor(components: ReconnectComponents) {
    this.#components = components
  }

  start(): void {
    this.#started = true
    this.refresh()
  }

  stop(): void {
    this.#started = false
    for (const attempt of this.#attempts.values()) end(attempt)
    this.#attempts.clear()
  }

  /** The address book or the links changed: who is missing is tried, who is gone is left alone. */
  refresh(): void {
    if (!this.#started) return
    const wanted = new Map(this.#components.targets().map((target) => [target.id, target]))
    for (const [id, attempt] of this.#attempts) {
      if (wanted.has(id)) continue
      end(attempt)
      this.#attempts.delete(id)
    }
    for (const [id, target] of wanted) this.#look(id, target)
  }

  /** Everybody who is waited for is tried at once: the network changed, or a person asked. */
  wake(did?: Did): void {
    for (const attempt of this.#attempts.values()) {
      if (attempt.timer === undefined || (did !== undefined && attempt.target.did !== did)) continue
      attempt.failures = 0
      this.#schedule(attempt, Math.round(this.#components.random.unit() * WAKE_MS))
    }
  }

  status(did: Did): RetryStatus {
    let waiting: Attempt | undefined
    for (const attempt of this.#attempts.values()) {
      if (attempt.target.did !== did) continue
      if (attempt.running !== undefined) return { state: 'connecting', retryInMs: null, lastError: attempt.lastError }
      if (attempt.timer !== undefined && (waiting === undefined || attempt.dueAt < waiting.dueAt)) waiting = attempt
    }
    if (waiting === undefined) return { state: 'idle', retryInMs: null, lastError: undefined }
    return { state: 'waiting', retryInMs: Math.max(0, Math.round(waiting.dueAt - this.#components.clock.monotonic())), lastError: waiting.lastError }
  }

  #look(id: string, target: Target): void {
    const { clock } = this.#components
    const attempt = this.#attempts.get(id) ?? { target, failures: 0, timer: undefined, dueAt: 0, upSince: undefined, lastError: undefined, running: undefined }
    attempt.target = target
    this.#attempts.set(id, attempt)
    if (this.#components.connected(target)) {
      attempt.upSince ??= clock.monotonic()
      attempt.timer?.cancel()
      attempt.timer = undefined
      attempt.lastError = undefined
      return
    }
    if (attempt.upSince !== undefined) {
      // A link that held for a while starts the count anew; one that comes and goes does not.
      if (clock.monotonic() - attempt.upSince >= STEADY_MS) attempt.failures = 0
      else attempt.failures++
      attempt.upSince = undefined
    }
    if (attempt.timer === undefined && attempt.running === undefined) this.#schedule(attempt, this.#jitter(attempt.failures))
  }

  #jitter(failures: number): number {
    return Math.round(this.#components.random.unit() * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(failures, 20)))
  }

  #schedule(attempt: Attempt, ms: number): void {
    attempt.timer?.cancel()
    attempt.dueAt = this.#components.clock.monotonic() + ms
    attempt.timer = this.#components.clock.after(ms, () => {
      attempt.timer = undefined
      void this.#try(attempt)
    })
  }

  async #try(attempt: Attempt): Promise<void> {
    if (this.#components.connected(attempt.target)) return this.refresh()
    const stop = new AbortController()
    attempt.running = stop
    try {
      await this.#components.dial(attempt.target, stop.signal)
      // Another machine of the peer may have answered.
      if (!this.#components.connected(attempt.target)) attempt.failures++
    } catch (error) {
      attempt.lastError = asKithError(error, 'INTERNAL')
      attempt.failures++
    }
    attempt.running = undefined
    if (!stop.signal.aborted) this.refresh()
  }
}

function end(attempt: Attempt): void {
  attempt.timer?.cancel()
  attempt.timer = undefined
  attempt.running?.abort(new KithError('ABORTED', 'this link is not wanted any more'))
}
