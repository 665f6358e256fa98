import { KithError } from '../core/errors.ts'

/** Handlers of one caller that may run on after their calls have ended; callers that give up at once could otherwise have any number at work. */
export const MAX_STRAGGLERS = 256

/** Counts, by caller, the handlers that nobody waits for any more. */
export class Stragglers {
  readonly #counts: Map<string, number> = new Map()

  /** @throws KithError `BUDGET_EXCEEDED` */
  check(caller: string): void {
    if (this.#counts.size === 0) return
    if ((this.#counts.get(caller) ?? 0) >= MAX_STRAGGLERS) {
      throw new KithError('BUDGET_EXCEEDED', 'too many calls that were given up still run', { details: { limit: MAX_STRAGGLERS } })
    }
  }

  add(caller: string): void {
    this.#counts.set(caller, (this.#counts.get(caller) ?? 0) + 1)
  }

  remove(caller: string): void {
    const left = (this.#counts.get(caller) ?? 0) - 1
    if (left > 0) this.#counts.set(caller, left)
    else this.#counts.delete(caller)
  }
}
