import { Lru } from '../core/lru.ts'
import type { Did } from '../identity/did.ts'

const HOUR_MS = 3_600_000
const MAX_ISSUERS = 16_384
/** Hours counted per issuer; the one touched longest ago is forgotten. */
const MAX_HOURS = 24

interface Tally {
  readonly hours: Map<number, number>
  tokens: number
  atMs: number
}

/**
 * How many statements of one issuer are taken: so many per hour *of its own clock*, so that a node which catches up on a year of statements refuses none of them;
 * and, whatever dates they bear, no more at once than an issuer's room, refilled at the same rate. A refusal is counted and held against nobody: who carried the
 * statement is not its author, and its author broke no rule of the link (PN-10).
 */
export class StatementRate {
  readonly #perHour: number
  readonly #burst: number
  readonly #tallies: Lru<Did, Tally> = new Lru(MAX_ISSUERS)

  /** @throws TypeError. */
  constructor(perHour: number, burst: number) {
    if (!Number.isSafeInteger(perHour) || perHour < 1) throw new TypeError(`not a rate: ${perHour}`)
    this.#perHour = perHour
    this.#burst = Math.max(burst, perHour)
  }

  /** Whether one more is taken; if so it is counted. */
  take(issuer: Did, createdMs: number, now: number): boolean {
    const tally = this.#tallies.get(issuer) ?? { hours: new Map<number, number>(), tokens: this.#burst, atMs: now }
    this.#tallies.set(issuer, tally)
    tally.tokens = Math.min(this.#burst, tally.tokens + (Math.max(0, now - tally.atMs) * this.#perHour) / HOUR_MS)
    tally.atMs = now
    const hour = Math.floor(createdMs / HOUR_MS)
    const count = tally.hours.get(hour) ?? 0
    if (count >= this.#perHour || tally.tokens < 1) return false
    tally.tokens--
    tally.hours.delete(hour)
    tally.hours.set(hour, count + 1)
    if (tally.hours.size > MAX_HOURS)
      for (const oldest of tally.hours.keys()) {
        tally.hours.delete(oldest)
        break
      }
    return true
  }
}
