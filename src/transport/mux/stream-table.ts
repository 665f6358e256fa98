import type { MuxStream } from './stream.ts'

const FIRST_SLOTS = 32

/**
 * Streams by number. Not a `Map`: with streams that live for a moment a Map replaces its table every few hundred deletions, and each abandoned table leads to
 * the next one, so that a table which has reached the old generation keeps all later ones, and their streams, alive until the next full collection.
 * Slots are lists: numbers rise, so with few streams open hardly any slot has two.
 */
export class StreamTable {
  #slots: (MuxStream | null)[] = new Array<MuxStream | null>(FIRST_SLOTS).fill(null)
  size = 0

  get(id: number): MuxStream | undefined {
    let stream = this.#slots[id & (this.#slots.length - 1)] ?? null
    while (stream !== null && stream.id !== id) stream = stream.nextInSlot
    return stream ?? undefined
  }

  /** A number that is not in the table. */
  add(stream: MuxStream): void {
    if (this.size === this.#slots.length) this.#grow()
    this.#put(stream)
    this.size += 1
  }

  delete(stream: MuxStream): void {
    const slot = stream.id & (this.#slots.length - 1)
    let before: MuxStream | null = null
    let at = this.#slots[slot] ?? null
    while (at !== null && at !== stream) {
      before = at
      at = at.nextInSlot
    }
    if (at === null) return
    if (before === null) this.#slots[slot] = at.nextInSlot
    else before.nextInSlot = at.nextInSlot
    at.nextInSlot = null
    this.size -= 1
  }

  /** In no order. */
  all(): MuxStream[] {
    const all: MuxStream[] = []
    for (const first of this.#slots) {
      for (let stream = first ?? null; stream !== null; stream = stream.nextInSlot) all.push(stream)
    }
    return all
  }

  /** Takes all of them out, in order of their numbers. */
  drain(): MuxStream[] {
    const all = this.all()
    for (const stream of all) stream.nextInSlot = null
    this.#slots.fill(null)
    this.size = 0
    return all.sort((a, b) => a.id - b.id)
  }

  #put(stream: MuxStream): void {
    const slot = stream.id & (this.#slots.length - 1)
    stream.nextInSlot = this.#slots[slot] ?? null
    this.#slots[slot] = stream
  }

  #grow(): void {
    const slots = this.#slots.length * 2
    const all = this.drain()
    this.#slots = new Array<MuxStream | null>(slots).fill(null)
    for (const stream of all) this.#put(stream)
    this.size = all.length
  }
}
