import { compare } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'
import { type Bound, END_OF_TIME } from './wire.ts'

/** What is kept in memory of one entry; its bytes are in the store. */
export interface Item {
  /** The id as Latin-1 text, for maps. */
  readonly key: string
  readonly id: Uint8Array
  readonly timeMs: number
  /** Of the envelope. */
  readonly size: number
  readonly author: Did
  /** Device, epoch and seq: two bodies for one slot are an equivocation. */
  readonly slot: string
}

export const START: Bound = { timeMs: 0, prefix: new Uint8Array(0) }
export const END: Bound = { timeMs: END_OF_TIME, prefix: new Uint8Array(0) }

/** The one order in which nodes list, reconcile and retire entries: signed time, then id. */
export function compareItems(a: Pick<Item, 'timeMs' | 'id'>, b: Pick<Item, 'timeMs' | 'id'>): number {
  return a.timeMs - b.timeMs || compare(a.id, b.id)
}

/** Whether an entry stands at or behind a bound. */
export function atOrBehind(item: Pick<Item, 'timeMs' | 'id'>, bound: Bound): boolean {
  return item.timeMs > bound.timeMs || (item.timeMs === bound.timeMs && compare(item.id, bound.prefix) >= 0)
}

export function compareBounds(a: Bound, b: Bound): number {
  return a.timeMs - b.timeMs || compare(a.prefix, b.prefix)
}

export function idKey(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1')
}

/** The kept entries of one topic in their order. */
export class TopicIndex {
  #items: Item[] = []
  readonly #byKey: Map<string, Item> = new Map()
  readonly #bySlot: Map<string, Item> = new Map()
  /** Changes with every change of what is kept. */
  generation = 0
  /** Of envelopes. */
  bytes = 0

  get size(): number {
    return this.#items.length
  }

  get items(): readonly Item[] {
    return this.#items
  }

  get(key: string): Item | undefined {
    return this.#byKey.get(key)
  }

  /** Who stands where this one would. */
  ofSlot(slot: string): Item | undefined {
    return this.#bySlot.get(slot)
  }

  /** One that is not here yet. */
  add(item: Item): void {
    const last = this.#items.at(-1)
    if (last === undefined || compareItems(last, item) < 0) this.#items.push(item)
    else this.#items.splice(this.#placeOf(item), 0, item)
    this.#byKey.set(item.key, item)
    this.#bySlot.set(item.slot, item)
    this.bytes += item.size
    this.generation++
  }

  /** Takes out several at once. */
  remove(gone: ReadonlySet<Item>): void {
    if (gone.size === 0) return
    for (const item of gone) {
      this.#byKey.delete(item.key)
      if (this.#bySlot.get(item.slot) === item) this.#bySlot.delete(item.slot)
      this.bytes -= item.size
    }
    this.#items = this.#items.filter((item) => !gone.has(item))
    this.generation++
  }

  /** How many stand before a bound. */
  before(bound: Bound): number {
    let low = 0
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (atOrBehind(this.#items[middle] as Item, bound)) high = middle
      else low = middle + 1
    }
    return low
  }

  #placeOf(item: Item): number {
    return this.before({ timeMs: item.timeMs, prefix: item.id })
  }
}
