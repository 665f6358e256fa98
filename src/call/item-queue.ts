import type { KithError } from '../core/errors.ts'

/** Gets what the reader took, and told when it stops. */
export interface ItemSource {
  /** `all`: nothing waits any more. */
  taken(bytes: number, all: boolean): void
  stopped(): void
}

interface Waiter<T> {
  readonly resolve: (result: IteratorResult<T>) => void
  readonly reject: (error: KithError) => void
}

/** Items that came, for one reader who pulls them. What waits is bounded by the credit that whoever sends them has. */
export class ItemQueue<T> implements AsyncIterableIterator<T> {
  readonly #source: ItemSource
  #items: T[] = []
  #bytes: number[] = []
  #at = 0
  #waiters: Waiter<T>[] = []
  #ended = false
  #error: KithError | undefined

  constructor(source: ItemSource) {
    this.#source = source
  }

  /** Whether items wait for the reader. */
  get waiting(): boolean {
    return this.#at < this.#items.length
  }

  /** Nothing more is taken in. */
  get ended(): boolean {
    return this.#ended
  }

  push(item: T, bytes: number): void {
    if (this.#ended) return
    const waiter = this.#waiters.shift()
    if (waiter === undefined) {
      this.#items.push(item)
      this.#bytes.push(bytes)
      return
    }
    waiter.resolve({ done: false, value: item })
    this.#source.taken(bytes, true)
  }

  /** Nothing more comes; what waits is read first. */
  end(error?: KithError): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    const waiters = this.#waiters
    this.#waiters = []
    for (const { resolve, reject } of waiters) {
      const failure = this.#error
      this.#error = undefined
      if (failure === undefined) resolve({ done: true, value: undefined })
      else reject(failure)
    }
  }

  next(): Promise<IteratorResult<T>> {
    if (this.#at < this.#items.length) {
      const value = this.#items[this.#at] as T
      const bytes = this.#bytes[this.#at] as number
      this.#at++
      const all = this.#at === this.#items.length
      if (all) {
        this.#items = []
        this.#bytes = []
        this.#at = 0
      } else if (this.#at >= 256) {
        this.#items.splice(0, this.#at)
        this.#bytes.splice(0, this.#at)
        this.#at = 0
      }
      if (!this.#ended) this.#source.taken(bytes, all)
      return Promise.resolve({ done: false, value })
    }
    if (this.#error !== undefined) {
      const error = this.#error
      this.#error = undefined
      return Promise.reject(error)
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  /** The reader wants no more. */
  return(): Promise<IteratorResult<T>> {
    this.#items = []
    this.#bytes = []
    this.#at = 0
    if (!this.#ended) {
      this.end()
      this.#source.stopped()
    }
    this.#error = undefined
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
