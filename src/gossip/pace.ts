import type { Clock } from '../core/clock.ts'
import type { Random } from '../core/random.ts'
import type { Policy } from '../mesh/types.ts'
import type { Neighbour } from './neighbour.ts'

export const FIRST_BACKOFF_MS = 300
const LAST_BACKOFF_MS = 5_000
const PULLS_PER_SECOND = 4
const AHEAD_MS = 4_000
const FIRST_REST_MS = 15_000
const LAST_REST_MS = 3_600_000

interface State {
  backoffMs: number
  busyUntil: number
  /** No ranges are pulled from it before. */
  restUntil: number
  restMs: number
  /** When what it gave will have been paid off, at the rate of its class; all strangers pay into one. */
  readonly paid: { untilMs: number }
}

/** How fast one neighbour is asked: so many bytes a second as its class may give, not while it is busy, and less often if it brings little. */
export class Pace {
  readonly #clock: Clock
  readonly #random: Random
  readonly #policy: Pick<Policy, 'constraints' | 'classOf'>
  readonly #states: Map<Neighbour, State> = new Map()
  readonly #strangers = { untilMs: 0 }

  constructor(clock: Clock, random: Random, policy: Pick<Policy, 'constraints' | 'classOf'>) {
    this.#clock = clock
    this.#random = random
    this.#policy = policy
  }

  /** Whether one more question may go out beside `open` that are not answered. */
  mayAsk(neighbour: Neighbour, open: number): boolean {
    if (neighbour.gone || !neighbour.outbox.open) return false
    const { busyUntil, paid } = this.#state(neighbour)
    const now = this.#clock.monotonic()
    return busyUntil <= now && paid.untilMs <= now + AHEAD_MS && open < this.#policy.constraints(neighbour.peer).outstandingRequests
  }

  busyUntil(neighbour: Neighbour): number {
    return this.#state(neighbour).busyUntil
  }

  resting(neighbour: Neighbour): boolean {
    return this.#state(neighbour).restUntil > this.#clock.monotonic()
  }

  /** Entries cost checking whoever signed them, so no neighbour is asked for more than its class may give: four pulls a second, a few seconds ahead. */
  charge(neighbour: Neighbour, entries: readonly Uint8Array[]): void {
    const bytes = entries.reduce((sum, { length }) => sum + length, 0)
    const { paid } = this.#state(neighbour)
    paid.untilMs = Math.max(this.#clock.monotonic(), paid.untilMs) + (1_000 * bytes) / (PULLS_PER_SECOND * this.#policy.constraints(neighbour.peer).pullBytes)
  }

  /** It is busy or silent. Until when it is left alone. */
  backOff(neighbour: Neighbour): number {
    const state = this.#state(neighbour)
    state.busyUntil = this.#clock.monotonic() + state.backoffMs * (1 + this.#random.unit() / 4)
    state.backoffMs = Math.min(LAST_BACKOFF_MS, 2 * state.backoffMs)
    return state.busyUntil
  }

  answered(neighbour: Neighbour): void {
    this.#state(neighbour).backoffMs = FIRST_BACKOFF_MS
  }

  /** A pull took its time and brought little: not another one for a while that doubles. */
  rest(neighbour: Neighbour): void {
    const state = this.#state(neighbour)
    state.restUntil = this.#clock.monotonic() + state.restMs
    state.restMs = Math.min(LAST_REST_MS, 2 * state.restMs)
  }

  /** A pull came to its end. */
  pulled(neighbour: Neighbour): void {
    this.#state(neighbour).restMs = FIRST_REST_MS
  }

  forget(neighbour: Neighbour): void {
    this.#states.delete(neighbour)
  }

  #state(neighbour: Neighbour): State {
    const known = this.#states.get(neighbour)
    if (known !== undefined) return known
    const paid = this.#policy.classOf(neighbour.peer) === 'isolated' ? this.#strangers : { untilMs: 0 }
    const state: State = { backoffMs: FIRST_BACKOFF_MS, busyUntil: 0, restUntil: 0, restMs: FIRST_REST_MS, paid }
    this.#states.set(neighbour, state)
    return state
  }
}
