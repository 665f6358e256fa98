import { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { EdgeKey } from './edge-slots.ts'
import { MAX_LIFE_MS } from './statement.ts'
import type { TrustStatement } from './types.ts'

/**
 * What this identity told the world, from this machine or another of its own. Kept apart from what it decides here: a statement is said, a decision is obeyed.
 * Remembered as long as others may, so that the next number is always higher.
 */
export class Said {
  readonly #me: Did
  readonly #limit: number
  readonly #statements: Map<string, TrustStatement> = new Map()

  constructor(me: Did, limit: number) {
    this.#me = me
    this.#limit = limit
  }

  /** What others may still hold for true. */
  current(now: number): readonly TrustStatement[] {
    return [...this.#statements.values()].filter(({ weight, expiresMs }) => weight > 0 && now < expiresMs)
  }

  find(key: Omit<EdgeKey, 'source'>): TrustStatement | undefined {
    return this.#statements.get(idOf(key))
  }

  /** The time of day, or one more than the last: rises across restarts, lost stores and several machines. */
  nextSequence(key: Omit<EdgeKey, 'source'>, now: number): number {
    return Math.max(now, (this.find(key)?.sequence ?? 0) + 1)
  }

  /** Takes what was stored, whatever the limit is now. */
  restore(statement: TrustStatement): void {
    this.#statements.set(idOf({ target: statement.subject, graph: statement.graph, scope: statement.scope }), statement)
  }

  /** Answers the keys that are not remembered any more. @throws KithError `TRUST_FULL`. */
  remember(statement: TrustStatement, now: number): readonly EdgeKey[] {
    const key = { target: statement.subject, graph: statement.graph, scope: statement.scope }
    const forgotten: EdgeKey[] = []
    if (!this.#statements.has(idOf(key)) && this.#statements.size >= this.#limit) {
      for (const [id, { subject, graph, scope, createdMs }] of this.#statements) {
        if (createdMs + MAX_LIFE_MS > now) continue
        this.#statements.delete(id)
        forgotten.push({ source: this.#me, target: subject, graph, scope })
      }
      if (forgotten.length === 0) throw new KithError('TRUST_FULL', `at most ${this.#limit} statements are published`, { details: { limit: this.#limit } })
    }
    this.#statements.set(idOf(key), statement)
    return forgotten
  }
}

function idOf({ target, graph, scope }: Omit<EdgeKey, 'source'>): string {
  return scope === undefined ? `${target} ${graph}` : `${target} ${graph} ${scope}`
}
