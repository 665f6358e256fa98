import { asKithError, type KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { Event } from './define.ts'
import type { LocalParts } from './local-parts.ts'
import { checkedOutput, tellable } from './outcome.ts'
import type { Outcome, Running } from './running.ts'
import type { Stragglers } from './stragglers.ts'
import type { StreamItem } from './types.ts'

type Item = IteratorResult<StreamItem>

const OVER: Item = { done: true, value: undefined }
const nothing = (): void => {}

/** The answers of a handler, pulled one by one: it is not asked for the next before somebody wants it. */
export class LocalStream implements AsyncIterableIterator<StreamItem>, Outcome {
  readonly #running: Running
  readonly #logger: Logger
  readonly #stragglers: Stragglers
  readonly #start: () => unknown
  #iterator: AsyncIterator<unknown> | undefined
  #over = false
  #error: KithError | undefined
  #resolve: ((item: Item) => void) | undefined
  #reject: ((error: KithError) => void) | undefined
  /** Requests beyond the one under way, which wait for it: iterators may be asked ahead. */
  #ahead = 0
  #last: Promise<Item> | undefined

  /** @param start runs the handler; called at the first request. */
  constructor(running: Running, { logger, stragglers }: Pick<LocalParts, 'logger' | 'stragglers'>, start: () => unknown) {
    this.#running = running
    this.#logger = logger
    this.#stragglers = stragglers
    this.#start = start
    running.begin(this)
  }

  next(): Promise<Item> {
    if (this.#last === undefined || (this.#resolve === undefined && this.#ahead === 0)) this.#last = this.#pull()
    else {
      this.#ahead++
      this.#last = this.#last.then(this.#next, this.#next)
    }
    return this.#last
  }

  async return(): Promise<Item> {
    if (!this.#over) this.#end(undefined)
    return OVER
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  ended(error: KithError): void {
    this.#end(error)
  }

  readonly #next = (): Promise<Item> => {
    this.#ahead--
    return this.#pull()
  }

  #pull(): Promise<Item> {
    if (this.#error !== undefined) {
      const error = this.#error
      this.#error = undefined
      return Promise.reject(error)
    }
    if (this.#over) return Promise.resolve(OVER)
    const waiting = new Promise<Item>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    try {
      this.#iterator ??= this.#begin()
      this.#iterator.next().then(this.#onResult, this.#onError)
    } catch (error) {
      this.#onError(error)
    }
    return waiting
  }

  #begin(): AsyncIterator<unknown> {
    const answer = this.#start() as AsyncIterable<unknown> | undefined
    const make = answer?.[Symbol.asyncIterator]
    if (typeof make !== 'function') throw new TypeError(`the handler of ${this.#running.operation.name} gives no async iterable`)
    return make.call(answer)
  }

  readonly #onResult = (result: IteratorResult<unknown>): void => {
    if (this.#over) return
    if (result.done === true) {
      this.#over = true
      this.#running.finish()
      this.#settle(OVER)
      return
    }
    try {
      const given = result.value
      const item =
        given instanceof Event
          ? { value: checkedOutput(this.#running.operation, given.value, this.#logger), id: given.id }
          : { value: checkedOutput(this.#running.operation, given, this.#logger) }
      this.#settle({ done: false, value: item })
    } catch (error) {
      this.#end(asKithError(error, 'CALL_FAILED'))
    }
  }

  readonly #onError = (error: unknown): void => {
    if (!this.#over) this.#end(tellable(this.#running.operation, error, this.#logger))
  }

  #settle(item: Item): void {
    const resolve = this.#resolve
    this.#resolve = undefined
    this.#reject = undefined
    resolve?.(item)
  }

  /** The consumer stopped, or something ended it: the handler's iterator is told, and not waited for. */
  #end(error: KithError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#running.finish(error)
    const { resolve, reject } = { resolve: this.#resolve, reject: this.#reject }
    this.#resolve = undefined
    this.#reject = undefined
    if (error === undefined) resolve?.(OVER)
    else if (reject === undefined) this.#error = error
    else reject(error)
    // An iterator that fails while it ends fails for nobody.
    const iterator = this.#iterator
    if (iterator === undefined) return
    // Also one that waited to be asked: what it does last can take as long as it likes.
    this.#stragglers.add(this.#running)
    void (async () => iterator.return?.())()
      .catch(nothing)
      .then(() => this.#stragglers.remove(this.#running))
  }
}
