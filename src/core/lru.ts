/** A bounded map that forgets what was used longest ago. */
export class Lru<K, V> {
  readonly #limit: number
  readonly #entries: Map<K, V> = new Map()
  /** The key that was used last: asked for again and again, it need not be moved. */
  #newest: K | undefined

  constructor(limit: number) {
    if (!Number.isInteger(limit) || limit < 1) throw new TypeError(`not a limit: ${limit}`)
    this.#limit = limit
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined || key === this.#newest) return value
    this.#entries.delete(key)
    this.#entries.set(key, value)
    this.#newest = key
    return value
  }

  delete(key: K): boolean {
    return this.#entries.delete(key)
  }

  set(key: K, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    this.#newest = key
    if (this.#entries.size <= this.#limit) return
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest)
      return
    }
  }
}
