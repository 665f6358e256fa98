import type { Neighbour } from './neighbour.ts'
import type { Topic } from './topic.ts'
import { idKey } from './topic-index.ts'

const MAX_MISSING = 16_384
/** Of these, told first by one neighbour: nobody fills the table with ids that do not exist. */
const MAX_MISSING_EACH = 4_096
const MAX_SOURCES = 8

/** An entry that others have. */
export interface Missing {
  readonly topic: Topic
  readonly id: Uint8Array
  readonly key: string
  /** Who has it, in the order in which they said so. */
  readonly sources: Neighbour[]
  readonly way: 'graft' | 'fetch'
  /** Who told of it first: its share of the table. */
  readonly first: Neighbour
  /** Not asked for before. */
  due: number
  /** Whom it was asked of; undefined while nobody is. */
  asked: object | undefined
}

/** Ids that are known and whose entries are not here. */
export class MissingTable {
  readonly #missing: Map<string, Missing> = new Map()
  readonly #listed: Map<Neighbour, number> = new Map()

  get size(): number {
    return this.#missing.size
  }

  [Symbol.iterator](): IterableIterator<Missing> {
    return this.#missing.values()
  }

  get(key: string): Missing | undefined {
    return this.#missing.get(key)
  }

  /** False when there is no room for what this neighbour tells. */
  add(topic: Topic, id: Uint8Array, neighbour: Neighbour, way: Missing['way'], due: number): boolean {
    const key = idKey(id)
    const known = this.#missing.get(key)
    if (known !== undefined) {
      if (known.sources.length < MAX_SOURCES && !known.sources.includes(neighbour)) known.sources.push(neighbour)
      known.due = Math.min(known.due, due)
      return true
    }
    const listed = this.#listed.get(neighbour) ?? 0
    if (this.#missing.size >= MAX_MISSING || listed >= MAX_MISSING_EACH) return false
    this.#listed.set(neighbour, listed + 1)
    this.#missing.set(key, { topic, id, key, sources: [neighbour], way, first: neighbour, due, asked: undefined })
    return true
  }

  drop(missing: Missing): void {
    if (!this.#missing.delete(missing.key)) return
    const left = (this.#listed.get(missing.first) ?? 1) - 1
    if (left === 0) this.#listed.delete(missing.first)
    else this.#listed.set(missing.first, left)
  }

  /** This neighbour does not have it after all. */
  without(missing: Missing, neighbour: Neighbour): void {
    const at = missing.sources.indexOf(neighbour)
    if (at !== -1) missing.sources.splice(at, 1)
    if (missing.sources.length === 0) this.drop(missing)
  }

  clear(): void {
    this.#missing.clear()
    this.#listed.clear()
  }
}
