/** What is kept of an edge in memory: 35 bytes in columns, found by a slot number. Labels and evidence stay in the store. */
export const FREE = 0
/** Counts in scores. */
export const LIVE = 1
/** Taken back or expired: remembered so that nothing older returns. */
export const ENDED = 2

export class EdgeColumns {
  source: Int32Array<ArrayBuffer> = new Int32Array(0)
  target: Int32Array<ArrayBuffer> = new Int32Array(0)
  weight: Uint16Array<ArrayBuffer> = new Uint16Array(0)
  state: Uint8Array<ArrayBuffer> = new Uint8Array(0)
  createdMs: Float64Array<ArrayBuffer> = new Float64Array(0)
  expiresMs: Float64Array<ArrayBuffer> = new Float64Array(0)
  sequence: Float64Array<ArrayBuffer> = new Float64Array(0)
  readonly #free: number[] = []
  #next = 0

  /** Slots in use. */
  get used(): number {
    return this.#next - this.#free.length
  }

  take(source: number, target: number): number {
    const slot = this.#free.pop() ?? this.#next++
    if (slot >= this.source.length) this.#grow()
    this.source[slot] = source
    this.target[slot] = target
    return slot
  }

  release(slot: number): void {
    this.state[slot] = FREE
    this.#free.push(slot)
  }

  #grow(): void {
    const length = Math.max(256, this.source.length * 2)
    const copy = <T extends Int32Array | Uint16Array | Uint8Array | Float64Array>(to: T, from: T): T => {
      to.set(from)
      return to
    }
    this.source = copy(new Int32Array(length), this.source)
    this.target = copy(new Int32Array(length), this.target)
    this.weight = copy(new Uint16Array(length), this.weight)
    this.state = copy(new Uint8Array(length), this.state)
    this.createdMs = copy(new Float64Array(length), this.createdMs)
    this.expiresMs = copy(new Float64Array(length), this.expiresMs)
    this.sequence = copy(new Float64Array(length), this.sequence)
  }
}
