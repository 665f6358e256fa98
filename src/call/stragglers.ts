import { KithError } from '../core/errors.ts'

/** Handlers of one caller that may run on after their calls have ended; callers that give up at once could otherwise have any number at work. */
export const MAX_STRAGGLERS = 256
/** Of one operation, whoever called: names are cheap, and an operation that does not listen is held back before it takes the place of those that do. */
export const MAX_STRAGGLERS_OF_OPERATION = 1_024
/** Of all operations and callers together. */
export const MAX_STRAGGLERS_IN_ALL = 4_096

/** What a handler is counted by. */
export interface Straggler {
  readonly caller: { readonly id: string }
  readonly operation: { readonly name: string }
}

/** Counts, by caller, by operation and in all, the handlers that nobody waits for any more. */
export class Stragglers {
  readonly #byCaller: Map<string, number> = new Map()
  readonly #byOperation: Map<string, number> = new Map()
  #all = 0

  /** @throws KithError `BUDGET_EXCEEDED` */
  check(caller: string, operation: string): void {
    if (this.#all === 0) return
    const limit = this.#reached(caller, operation)
    if (limit !== undefined) throw new KithError('BUDGET_EXCEEDED', 'too many calls that were given up still run', { details: { limit } })
  }

  add({ caller, operation }: Straggler): void {
    this.#all++
    change(this.#byCaller, caller.id, 1)
    change(this.#byOperation, operation.name, 1)
  }

  remove({ caller, operation }: Straggler): void {
    this.#all--
    change(this.#byCaller, caller.id, -1)
    change(this.#byOperation, operation.name, -1)
  }

  #reached(caller: string, operation: string): number | undefined {
    if ((this.#byCaller.get(caller) ?? 0) >= MAX_STRAGGLERS) return MAX_STRAGGLERS
    if ((this.#byOperation.get(operation) ?? 0) >= MAX_STRAGGLERS_OF_OPERATION) return MAX_STRAGGLERS_OF_OPERATION
    return this.#all >= MAX_STRAGGLERS_IN_ALL ? MAX_STRAGGLERS_IN_ALL : undefined
  }
}

function change(counts: Map<string, number>, name: string, by: 1 | -1): void {
  const count = (counts.get(name) ?? 0) + by
  if (count > 0) counts.set(name, count)
  else counts.delete(name)
}
