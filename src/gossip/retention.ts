import type { Did } from '../identity/did.ts'
import { compareItems, type Item } from './topic-index.ts'

/**
 * # Which entries a topic keeps
 *
 * Too old: signed time before now - retainMs. Beyond the space: the oldest of those authors who take most.
 *
 * ```text
 * weight of an entry  w = max(size, ceil(maxBytes / maxEntries))              so that the sum of weights bounds bytes and count at once
 * demand of an author S = sum of w over all it published that is not too old, kept or not
 * level               L = the largest with  sum over authors of min(L, S) <= maxBytes
 * kept                  an entry if the weights of this author's entries not older than it sum up to L at most
 * ```
 *
 * One author alone has all the space; among n each has at least an nth of it, whatever the others publish. L never rises while entries arrive, so what is dropped is
 * never missed later, and nodes with equal options that have seen the same entries keep the same ones, in whatever order they came. An entry that was dropped is
 * recognised when it comes again: it is not newer than the newest one of its author that was dropped. That one is remembered over a restart (`dropped-store.ts`).
 */
export interface RetentionLimits {
  readonly retainMs: number
  readonly maxEntries: number
  readonly maxBytes: number
}

/** Authors of whom something was dropped and nothing is kept. */
const MAX_DROPPED = 8_192

/** As much of an entry as its place among others needs. */
export type Place = Pick<Item, 'timeMs' | 'id'>

interface Author {
  /** Kept ones, oldest first. */
  readonly items: Item[]
  weight: number
  /** The newest that was dropped for space. */
  dropped: Place | undefined
}

export class Retention {
  readonly #limits: RetentionLimits
  readonly #unit: number
  readonly #authors: Map<Did, Author> = new Map()
  #changed: Set<Did> = new Set()
  #weight = 0
  #droppedMs = 0
  /** Authors of whom something was dropped: what any author adds may now cost them. */
  #marked = 0
  #added = false

  constructor(limits: RetentionLimits) {
    this.#limits = limits
    this.#unit = Math.ceil(limits.maxBytes / limits.maxEntries)
  }

  /** Entries signed before this are too old. */
  cutoff(now: number): number {
    return Math.max(0, Math.floor(now) - this.#limits.retainMs)
  }

  /** Whether something of this author is kept. */
  has(author: Did): boolean {
    return (this.#authors.get(author)?.items.length ?? 0) > 0
  }

  /** The newest one of this author that was dropped for space. */
  dropped(author: Did): Place | undefined {
    return this.#authors.get(author)?.dropped
  }

  /** What an earlier run dropped; before anything is added. */
  recall(author: Did, dropped: Place): void {
    this.#authors.set(author, { items: [], weight: 0, dropped })
    this.#marked++
    this.#droppedMs = Math.max(this.#droppedMs, dropped.timeMs)
  }

  /** The newest entry that was dropped for space, as far as it is remembered. */
  get droppedMs(): number {
    return this.#droppedMs
  }

  /** Whether there is no room for this one, whatever else is dropped. */
  refuses(item: Pick<Item, 'timeMs' | 'id' | 'author' | 'size'>): boolean {
    if (this.#weightOf(item) > this.#limits.maxBytes) return true
    const dropped = this.#authors.get(item.author)?.dropped
    return dropped !== undefined && compareItems(item, dropped) <= 0
  }

  add(item: Item): void {
    const author = this.#authors.get(item.author) ?? { items: [], weight: 0, dropped: undefined }
    this.#authors.set(item.author, author)
    const { items } = author
    let at = items.length
    while (at > 0 && compareItems(items[at - 1] as Item, item) > 0) at--
    items.splice(at, 0, item)
    const weight = this.#weightOf(item)
    author.weight += weight
    this.#weight += weight
    this.#added = true
  }

  /** More may be kept than the rule says: `settle` is due. Once something was dropped, each addition may be beyond the level, also while there is room left over. */
  get full(): boolean {
    return this.#weight > this.#limits.maxBytes || (this.#marked > 0 && this.#added)
  }

  /** Authors whose newest dropped one is another than when this was last asked. */
  takeChanged(): ReadonlySet<Did> {
    const changed = this.#changed
    this.#changed = new Set()
    return changed
  }

  /** What must go now, and is forgotten here. */
  settle(now: number): Set<Item> {
    const gone = new Set<Item>()
    const cutoff = this.cutoff(now)
    for (const [did, author] of this.#authors) {
      while (author.items[0] !== undefined && author.items[0].timeMs < cutoff) gone.add(this.#drop(author))
      if (author.dropped !== undefined && author.dropped.timeMs < cutoff) {
        author.dropped = undefined
        this.#changed.add(did)
      }
      if (author.items.length === 0 && author.dropped === undefined) this.#authors.delete(did)
    }
    const level = this.#level()
    for (const [did, author] of this.#authors) {
      while (author.weight > level && author.items.length > 0) {
        const item = this.#drop(author)
        author.dropped = item
        this.#changed.add(did)
        this.#droppedMs = Math.max(this.#droppedMs, item.timeMs)
        gone.add(item)
      }
    }
    this.#forget()
    this.#added = false
    this.#marked = 0
    for (const { dropped } of this.#authors.values()) if (dropped !== undefined) this.#marked++
    return gone
  }

  /** Identities cost nothing: of those nothing is kept of, only so many are remembered. */
  #forget(): void {
    if (this.#authors.size <= 2 * MAX_DROPPED) return
    let surplus = this.#authors.size - MAX_DROPPED
    for (const [did, { items }] of this.#authors) {
      if (surplus === 0) return
      if (items.length > 0) continue
      this.#authors.delete(did)
      this.#changed.add(did)
      surplus--
    }
  }

  #drop(author: Author): Item {
    const item = author.items.shift() as Item
    const weight = this.#weightOf(item)
    author.weight -= weight
    this.#weight -= weight
    return item
  }

  /** What one author may take. An author of whom something was dropped wants more than that, however much it still has. */
  #level(): number {
    const wishes = [...this.#authors.values()].map(({ weight, dropped }) => (dropped === undefined ? weight : Number.POSITIVE_INFINITY)).sort((a, b) => a - b)
    let room = this.#limits.maxBytes
    for (let i = 0; i < wishes.length; i++) {
      const share = Math.floor(room / (wishes.length - i))
      if ((wishes[i] as number) > share) return share
      room -= wishes[i] as number
    }
    return Number.POSITIVE_INFINITY
  }

  #weightOf(item: Pick<Item, 'size'>): number {
    return Math.max(item.size, this.#unit)
  }
}
