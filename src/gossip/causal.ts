import type { Clock, Timer } from '../core/clock.ts'
import type { Reference } from './entry.ts'
import type { Arrival } from './topic.ts'
import { idKey } from './topic-index.ts'

/**
 * # Hold-back: entries reach readers after what they refer to
 *
 * An entry names, inside its signature, the newest entries its author had seen. It waits here until those were delivered, are older than what the topic keeps, or until
 * the wait costs too much: then the oldest that wait are delivered anyway and marked (`gap`). So nobody can stop a topic by referring to what does not exist, and the
 * memory of waiting is bounded per topic.
 */
export const HOLD_MS = 10_000
export const HOLD_ENTRIES = 1_000
export const HOLD_BYTES: number = 4 * 2 ** 20

export interface HoldBackHooks {
  readonly clock: Clock
  /** Whether the wait for this one is over: delivered here before, or gone for good. */
  known(reference: Reference): boolean
  /** Something an entry refers to that is not here. */
  missing(reference: Reference): void
  deliver(arrival: Arrival, gap: boolean): void
  /** Delivered out of order because a bound was reached. */
  forced(): void
}

interface Held {
  readonly arrival: Arrival
  readonly since: number
  readonly waitsFor: Set<string>
}

export class HoldBack {
  readonly #hooks: HoldBackHooks
  readonly #causal: boolean
  /** In order of arrival. */
  readonly #held: Map<string, Held> = new Map()
  /** From an id to those that wait for it. */
  readonly #waiting: Map<string, Set<Held>> = new Map()
  #bytes = 0
  #timer: Timer | undefined

  constructor(causal: boolean, hooks: HoldBackHooks) {
    this.#causal = causal
    this.#hooks = hooks
  }

  get size(): number {
    return this.#held.size
  }

  has(key: string): boolean {
    return this.#held.has(key)
  }

  /** Whether something here waits for this one. */
  awaits(key: string): boolean {
    return this.#waiting.has(key)
  }

  offer(arrival: Arrival): void {
    const missing = this.#causal ? arrival.references.filter((reference) => this.#held.has(idKey(reference.id)) || !this.#hooks.known(reference)) : []
    if (missing.length === 0) {
      this.#deliver(arrival, false)
      return
    }
    const held: Held = { arrival, since: this.#hooks.clock.monotonic(), waitsFor: new Set(missing.map(({ id }) => idKey(id))) }
    this.#held.set(arrival.key, held)
    this.#bytes += arrival.size
    for (const key of held.waitsFor) {
      const others = this.#waiting.get(key)
      if (others === undefined) this.#waiting.set(key, new Set([held]))
      else others.add(held)
    }
    for (const reference of missing) if (!this.#held.has(idKey(reference.id))) this.#hooks.missing(reference)
    while (this.#held.size > HOLD_ENTRIES || this.#bytes > HOLD_BYTES) this.#forceOldest()
    this.#arm()
  }

  /** Something that was waited for will not come: those that waited for nothing else go. */
  over(key: string): void {
    this.#deliverAll(this.#released(key))
  }

  /** Delivers what still waits. */
  flush(): void {
    while (this.#held.size > 0) this.#forceOldest()
  }

  close(): void {
    this.#timer?.cancel()
    this.#held.clear()
    this.#waiting.clear()
  }

  /** Delivers, then whatever waited only for that; a long chain does not deepen the stack. */
  #deliver(arrival: Arrival, gap: boolean): void {
    this.#deliverAll([[arrival, gap]])
  }

  #deliverAll(ready: [Arrival, boolean][]): void {
    for (let next = ready.shift(); next !== undefined; next = ready.shift()) {
      this.#hooks.deliver(...next)
      ready.push(...this.#released(next[0].key))
    }
  }

  /** Those that waited for this one alone. */
  #released(key: string): [Arrival, boolean][] {
    const others = this.#waiting.get(key)
    this.#waiting.delete(key)
    const ready: [Arrival, boolean][] = []
    for (const held of others ?? []) {
      held.waitsFor.delete(key)
      if (held.waitsFor.size === 0 && this.#take(held)) ready.push([held.arrival, false])
    }
    return ready
  }

  #take(held: Held): boolean {
    if (!this.#held.delete(held.arrival.key)) return false
    this.#bytes -= held.arrival.size
    return true
  }

  #forceOldest(): void {
    for (const held of this.#held.values()) {
      this.#take(held)
      for (const key of held.waitsFor) {
        const others = this.#waiting.get(key)
        others?.delete(held)
        if (others?.size === 0) this.#waiting.delete(key)
      }
      this.#hooks.forced()
      this.#deliver(held.arrival, true)
      return
    }
  }

  /** One timer, for the one that waits longest. */
  #arm(): void {
    if (this.#timer !== undefined) return
    const first = this.#held.values().next()
    if (first.done === true) return
    const { clock } = this.#hooks
    this.#timer = clock.after(Math.max(0, first.value.since + HOLD_MS - clock.monotonic()), () => {
      this.#timer = undefined
      const due = clock.monotonic() - HOLD_MS
      for (let oldest = this.#held.values().next(); oldest.done !== true && oldest.value.since <= due; oldest = this.#held.values().next()) this.#forceOldest()
      this.#arm()
    })
  }
}
