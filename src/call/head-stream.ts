import { isKithError, KithError } from '../core/errors.ts'
import type { Flight } from './head-worker.ts'
import type { StreamItem } from './types.ts'

/** A stream at one worker, with what ends it. */
export interface Started {
  readonly items: AsyncIterableIterator<StreamItem>
  readonly flight: Flight
}

export interface StreamSource {
  /** Begins at some worker. @throws KithError when there is none. */
  begin(): Started
  ended(flight: Flight): void
  /** Whether to begin again elsewhere after this; otherwise throws what the reader is told. */
  failed(thrown: unknown, flight: Flight, delivered: boolean): void
}

/**
 * A worker's stream as the head hands it on: one item is asked for when one is wanted, nothing is kept. Begins when it is first read; until an item was delivered it
 * may begin again at another worker.
 */
export class HeadStream implements AsyncIterableIterator<StreamItem> {
  readonly #source: StreamSource
  #started: Started | undefined
  #delivered = false
  #done = false
  #busy: Promise<unknown> | undefined

  constructor(source: StreamSource) {
    this.#source = source
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<StreamItem>> {
    const turn = this.#busy === undefined ? this.#step() : this.#busy.then(() => this.#step())
    const settled = turn.then(
      () => undefined,
      () => undefined,
    )
    this.#busy = settled
    void settled.then(() => {
      if (this.#busy === settled) this.#busy = undefined
    })
    return turn
  }

  /** Does not wait for an item that is under way: the call there ends at once. */
  async return(): Promise<IteratorResult<StreamItem>> {
    const started = this.#started
    this.#done = true
    this.#started = undefined
    if (started !== undefined) {
      started.flight.cancellation.cancel(new KithError('ABORTED', 'The reader left.'))
      this.#source.ended(started.flight)
      await started.items.return?.().catch(() => undefined)
    }
    return { done: true, value: undefined }
  }

  async #step(): Promise<IteratorResult<StreamItem>> {
    for (;;) {
      if (this.#done) return { done: true, value: undefined }
      let started = this.#started
      try {
        started ??= this.#source.begin()
      } catch (error) {
        this.#done = true
        throw error
      }
      this.#started = started
      try {
        const item = await started.items.next()
        if (this.#started !== started) return { done: true, value: undefined }
        if (item.done !== true) {
          this.#delivered = true
          return item
        }
        this.#over(started)
        return { done: true, value: undefined }
      } catch (error) {
        if (this.#started !== started) return { done: true, value: undefined }
        this.#started = undefined
        this.#again(error, started)
      }
    }
  }

  #over({ flight }: Started): void {
    this.#done = true
    this.#started = undefined
    this.#source.ended(flight)
  }

  #again(error: unknown, { flight }: Started): void {
    try {
      this.#source.failed(error, flight, this.#delivered)
    } catch (told) {
      this.#done = true
      throw told
    }
  }
}

/** Items of this node's own; a refusal costs what it does for a name that nobody has. */
export class EvenStream implements AsyncIterableIterator<StreamItem> {
  readonly #items: AsyncIterableIterator<StreamItem>
  readonly #even: () => void

  constructor(items: AsyncIterableIterator<StreamItem>, even: () => void) {
    this.#items = items
    this.#even = even
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<StreamItem>> {
    try {
      return await this.#items.next()
    } catch (error) {
      if (isKithError(error, 'CALL_UNKNOWN')) this.#even()
      throw error
    }
  }

  async return(): Promise<IteratorResult<StreamItem>> {
    return (await this.#items.return?.()) ?? { done: true, value: undefined }
  }
}
