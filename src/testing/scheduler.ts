import type { Timer } from '../core/clock.ts'

/**
 * One queue of events in virtual time. An event runs, then everything it woke runs to its end (promises, ticks, immediates), then the next event comes:
 * what happens depends on the order of events alone, never on how long anything took.
 */
export class Scheduler {
  #now = 0
  #order = 0
  #running = false
  #failure: { readonly error: unknown } | undefined
  readonly #heap: Event[] = []
  #cancelled = 0
  /** Events that have run. */
  count = 0

  /** Virtual ms since the start. */
  get now(): number {
    return this.#now
  }

  get running(): boolean {
    return this.#running
  }

  /** Events that wait. */
  get pending(): number {
    return this.#heap.length - this.#cancelled
  }

  /** When the next event is due, or Infinity. */
  get next(): number {
    this.#dropCancelled()
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY
  }

  /** Runs `act` in `ms`, after everything else that is due then. */
  after(ms: number, act: () => void): Timer {
    if (Number.isNaN(ms)) throw new TypeError('a timer needs a number of ms')
    const event: Event = { at: this.#now + Math.max(0, ms), order: this.#order++, act }
    if (event.at === Number.POSITIVE_INFINITY) return { cancel: () => undefined }
    this.#push(event)
    return { cancel: () => this.#cancel(event) }
  }

  /** Something that nobody waits for went wrong: whoever runs the time gets it. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /** Lets everything run that needs no time. */
  async settle(): Promise<void> {
    await this.#exclusive(() => this.#quiet())
  }

  /** Runs all events up to `until`, and stands there. Ends early after an event after which `stop` is true. */
  async advance(until: number, stop: () => boolean = never): Promise<void> {
    await this.#exclusive(async () => {
      await this.#quiet()
      while (!stop() && this.next <= until) {
        const event = this.#pop()
        this.#now = Math.max(this.#now, event.at)
        const { act } = event
        event.act = undefined
        this.count++
        act?.()
        await this.#quiet()
      }
      if (!stop()) this.#now = Math.max(this.#now, until)
    })
  }

  async #exclusive(work: () => Promise<void>): Promise<void> {
    if (this.#running) throw new TypeError('time is already running: await one call before the next')
    this.#running = true
    try {
      await work()
    } finally {
      this.#running = false
    }
  }

  /** Turns of the event loop until no immediate is left, and nobody waits for a file. */
  async #quiet(): Promise<void> {
    for (let turns = 0; ; turns++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#failure !== undefined) {
        const { error } = this.#failure
        this.#failure = undefined
        throw error
      }
      const busy = process.getActiveResourcesInfo()
      const reading = busy.some((resource) => FILE_WORK.has(resource))
      if (!reading && !busy.includes('Immediate')) return
      if (reading) turns = 0
      if (turns > MAX_TURNS) throw new Error(`something has kept the event loop busy for ${MAX_TURNS} turns without any virtual time passing`)
    }
  }

  #cancel(event: Event): void {
    if (event.act === undefined) return
    event.act = undefined
    this.#cancelled++
    if (this.#cancelled > 1_000 && this.#cancelled * 2 > this.#heap.length) this.#compact()
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && (this.#heap[0] as Event).act === undefined) {
      this.#pop()
      this.#cancelled--
    }
  }

  #compact(): void {
    const live = this.#heap.filter(({ act }) => act !== undefined).sort((a, b) => (before(a, b) ? -1 : 1))
    this.#heap.length = 0
    for (const event of live) this.#heap.push(event)
    this.#cancelled = 0
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as Event
      if (!before(event, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = event
  }

  /** The first event; there is one. */
  #pop(): Event {
    const heap = this.#heap
    const first = heap[0] as Event
    const last = heap.pop() as Event
    if (heap.length === 0) return first
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && before(heap[below + 1] as Event, heap[below] as Event)) below++
      const child = heap[below] as Event
      if (!before(child, last)) break
      heap[at] = child
      at = below
    }
    heap[at] = last
    return first
  }
}

interface Event {
  readonly at: number
  readonly order: number
  /** Undefined once it has run or was cancelled. */
  act: (() => void) | undefined
}

/** What Node calls work on files that is under way. */
const FILE_WORK: ReadonlySet<string> = new Set(['FSReqPromise', 'FSReqCallback', 'CloseReq'])
const MAX_TURNS = 100_000

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

function never(): boolean {
  return false
}
