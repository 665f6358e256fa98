import type { Clock } from '../core/clock.ts'
import { Lru } from '../core/lru.ts'

/** What was under way when the refusal left still arrives; a link without a sign of life for this long would be gone. */
export const WARNING_GRACE_MS = 30_000
/** After this long a warning is forgotten, and the next excess is a first one again. */
export const WARNING_MS = 3_600_000

/**
 * A hard limit counts only after one warning (PN-10, rule 2). The first report of a limit is the warning: it goes out with the refusal. What follows within
 * `WARNING_GRACE_MS` may have been sent before that was read and counts for nothing; later it does, once per such time.
 */
export class Warnings {
  readonly #clock: Clock
  readonly #given: Lru<string, number> = new Lru(4_096)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Whether this one counts. */
  heeds(subject: string): boolean {
    const now = this.#clock.monotonic()
    const since = this.#given.get(subject)
    if (since !== undefined && now - since < WARNING_GRACE_MS) return false
    this.#given.set(subject, now)
    return since !== undefined && now - since <= WARNING_MS
  }
}
