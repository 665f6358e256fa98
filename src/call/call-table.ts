/** Something with a number, and a place in a table. */
export interface Numbered<T> {
  readonly call: number
  nextInSlot: T | undefined
}

const FIRST_SLOTS = 16

/**
 * Calls by number. Not a `Map`: where entries live for a moment it replaces its table every few hundred deletions, and abandoned tables that have grown old keep what
 * came after them alive (`transport/mux/stream-table.ts`). Slots are lists; numbers rise, so hardly any has two.
 */
export class CallTable<T extends Numbered<T>> {
  #slots: (T | undefined)[] = new Array<T | undefined>(FIRST_SLOTS).fill(undefined)
  size = 0

  get(call: number): T | undefined {
    let at = this.#slots[call & (this.#slots.length - 1)]
    while (at !== undefined && at.call !== call) at = at.nextInSlot
    return at
  }

  /** An entry whose number is not in the table. */
  add(entry: T): void {
    if (this.size === this.#slots.length) this.#grow()
    this.#put(entry)
    this.size++
  }

  delete(entry: T): boolean {
    const slot = entry.call & (this.#slots.length - 1)
    let before: T | undefined
    let at = this.#slots[slot]
    while (at !== undefined && at !== entry) {
      before = at
      at = at.nextInSlot
    }
    if (at === undefined) return false
    if (before === undefined) this.#slots[slot] = at.nextInSlot
    else before.nextInSlot = at.nextInSlot
    at.nextInSlot = undefined
    this.size--
    return true
  }

  /** In order of their numbers. */
  all(): T[] {
    const all: T[] = []
    for (const first of this.#slots) for (let at = first; at !== undefined; at = at.nextInSlot) all.push(at)
    return all.sort((a, b) => a.call - b.call)
  }

  clear(): void {
    for (const entry of this.all()) entry.nextInSlot = undefined
    this.#slots.fill(undefined)
    this.size = 0
  }

  #put(entry: T): void {
    const slot = entry.call & (this.#slots.length - 1)
    entry.nextInSlot = this.#slots[slot]
    this.#slots[slot] = entry
  }

  #grow(): void {
    const all = this.all()
    this.#slots = new Array<T | undefined>(2 * this.#slots.length).fill(undefined)
    for (const entry of all) this.#put(entry)
  }
}
