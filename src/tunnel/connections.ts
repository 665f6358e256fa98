import type { Clock, Timer } from '../core/clock.ts'
import type { KithError } from '../core/errors.ts'
import type { Meter } from './splice.ts'

/** One connection that runs, whatever carries it. */
interface Connection {
  /** Null for what is never too idle. */
  readonly meter: Readonly<Meter> | null
  /** What had been carried when the last look found something new. */
  seen: number
  /** When that was, by the clock's monotonic time. */
  since: number
  end(idle: boolean): void
}

export interface ConnectionsOptions {
  readonly clock: Clock
  /** How long a connection may carry nothing; 0 for ever. Asked at each look, so that a setting can change. */
  readonly idleMs: () => number
}

/** The connections of one tunnel: how many, how much they carried, and which of them carry nothing any more. */
export class Connections implements Meter {
  bytesIn = 0
  bytesOut = 0
  total = 0
  /** Why the last one that failed did so. */
  lastError: KithError | null = null
  readonly #open: Set<Connection> = new Set()
  readonly #options: ConnectionsOptions
  #look: Timer | undefined

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * Counts a connection until `leave` is called. `end` is told to close it: for lack of traffic, or because the tunnel ends. `live` counts its bytes where
   * something else than the given meter does; null for a connection that may be idle for ever.
   */
  enter(end: (idle: boolean) => void, live?: Readonly<Meter> | null): { readonly meter: Meter; leave(): void } {
    this.total++
    const meter = new ChildMeter(this)
    const connection: Connection = { meter: live === undefined ? meter : live, seen: 0, since: 0, end }
    this.#open.add(connection)
    const idle = this.#options.idleMs()
    if (idle > 0) {
      connection.since = this.#options.clock.monotonic()
      this.#watch(idle)
    }
    return { meter, leave: () => this.#leave(connection) }
  }

  endAll(): void {
    for (const connection of [...this.#open]) connection.end(false)
  }

  #leave(connection: Connection): void {
    this.#open.delete(connection)
    if (this.#open.size > 0) return
    this.#look?.cancel()
    this.#look = undefined
  }

  /** One timer for all: a timer per connection and chunk would cost more than the bytes. */
  #watch(idleMs: number): void {
    this.#look ??= this.#options.clock.after(Math.max(250, idleMs / 4), () => {
      this.#look = undefined
      const idle = this.#options.idleMs()
      const now = this.#options.clock.monotonic()
      for (const connection of [...this.#open]) {
        if (connection.meter === null) continue
        const carried = connection.meter.bytesIn + connection.meter.bytesOut
        if (carried !== connection.seen || connection.since === 0) {
          connection.seen = carried
          connection.since = now
        } else if (idle > 0 && now - connection.since >= idle) connection.end(true)
      }
      if (this.#open.size > 0) this.#watch(idle > 0 ? idle : idleMs)
    })
  }
}

/** Adds to its own count and its tunnel's. */
class ChildMeter implements Meter {
  #in = 0
  #out = 0
  readonly #all: Meter

  constructor(all: Meter) {
    this.#all = all
  }

  get bytesIn(): number {
    return this.#in
  }

  set bytesIn(value: number) {
    this.#all.bytesIn += value - this.#in
    this.#in = value
  }

  get bytesOut(): number {
    return this.#out
  }

  set bytesOut(value: number) {
    this.#all.bytesOut += value - this.#out
    this.#out = value
  }
}
