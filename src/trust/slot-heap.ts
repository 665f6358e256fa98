/** A heap of small whole numbers ordered by a time each; the time of one that is in it can be changed, and it can be taken out. For expiries. */
export class SlotHeap {
  /** Heap order; the first `#size` are in use. */
  #items = new Int32Array(64)
  #times = new Float64Array(64)
  /** Where a number stands in `#items`, plus one; 0: not in the heap. */
  #places = new Int32Array(64)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The earliest, with its time. */
  peek(): { readonly item: number; readonly timeMs: number } | undefined {
    if (this.#size === 0) return undefined
    return { item: this.#items[0] as number, timeMs: this.#times[0] as number }
  }

  set(item: number, timeMs: number): void {
    if (item >= this.#places.length) this.#places = grown(this.#places, item)
    let at = (this.#places[item] as number) - 1
    if (at < 0) {
      if (this.#size === this.#items.length) {
        this.#items = grown(this.#items, this.#size)
        const times = new Float64Array(this.#items.length)
        times.set(this.#times)
        this.#times = times
      }
      at = this.#size++
    }
    this.#place(at, item, timeMs)
    this.#settle(at)
  }

  delete(item: number): void {
    const at = (this.#places[item] ?? 0) - 1
    if (at < 0) return
    this.#places[item] = 0
    const last = --this.#size
    if (at === last) return
    this.#place(at, this.#items[last] as number, this.#times[last] as number)
    this.#settle(at)
  }

  #settle(start: number): void {
    this.#up(start)
    this.#down(start)
  }

  #up(start: number): void {
    let at = start
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((this.#times[parent] as number) <= (this.#times[at] as number)) return
      this.#swap(at, parent)
      at = parent
    }
  }

  #down(start: number): void {
    let at = start
    for (;;) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#size && (this.#times[child] as number) < (this.#times[least] as number)) least = child
      }
      if (least === at) return
      this.#swap(at, least)
      at = least
    }
  }

  #swap(a: number, b: number): void {
    const item = this.#items[a] as number
    const time = this.#times[a] as number
    this.#place(a, this.#items[b] as number, this.#times[b] as number)
    this.#place(b, item, time)
  }

  #place(at: number, item: number, timeMs: number): void {
    this.#items[at] = item
    this.#times[at] = timeMs
    this.#places[item] = at + 1
  }
}

function grown(array: Int32Array<ArrayBuffer>, index: number): Int32Array<ArrayBuffer> {
  const next = new Int32Array(Math.max(array.length * 2, index + 1))
  next.set(array)
  return next
}
