import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'

/**
 * # Verification in slices
 *
 * Signatures are checked on the main thread, at most `sliceMs` per turn of the event loop over all links together; timers, sockets and other rooms run in between.
 *
 * ```text
 * carrier A  [job job job] --+
 * carrier B  [job]         --+--> one job of each carrier in turn ---- 10 ms used up? ----> next turn
 * carrier C  [job job]     --+
 * ```
 *
 * Jobs of one carrier run in order, one at a time, also when one has to wait for the store. While there is time left in a turn a job runs at once.
 */
export interface SlicerOptions {
  readonly clock: Clock
  /** Lets others run; resolves in a later turn of the event loop. */
  readonly yieldTurn: () => Promise<void>
  /** Default 10. */
  readonly sliceMs?: number
  /** Jobs of one carrier that may wait. Default 1,024. */
  readonly maxWaiting?: number
}

/** Returned by a check that has to wait first: what it gives runs as the next job of the same carrier. Never rejects. */
export class Later<T> {
  readonly ready: Promise<() => T>

  constructor(ready: Promise<() => T>) {
    this.ready = ready
  }

  /** Waits for a value, then goes on with it; a failure to get it is thrown there. */
  static on<V, T>(value: Promise<V>, run: (value: V) => T): Later<T> {
    return new Later(
      value.then(
        (got) => () => run(got),
        (error: unknown) => () => {
          throw error
        },
      ),
    )
  }
}

type Job = () => unknown

interface Lane {
  readonly carrier: string
  /** What a `Later` gave: it goes before the others. */
  first: Job | undefined
  jobs: Job[]
  /** Where `jobs` begins: taking from the front of an array copies it. */
  head: number
  /** A job of it runs, or waits for something. */
  busy: boolean
}

const DEFAULT_SLICE_MS = 10
const DEFAULT_MAX_WAITING = 1_024

export class Slicer {
  readonly #clock: Clock
  readonly #yieldTurn: () => Promise<void>
  readonly #sliceMs: number
  readonly #maxWaiting: number
  readonly #lanes: Map<string, Lane> = new Map()
  /** Lanes with a job that may run, in the order of their turns. */
  readonly #ready: Set<Lane> = new Set()
  #used = 0
  #running = false
  #yielding = false

  constructor({ clock, yieldTurn, sliceMs = DEFAULT_SLICE_MS, maxWaiting = DEFAULT_MAX_WAITING }: SlicerOptions) {
    this.#clock = clock
    this.#yieldTurn = yieldTurn
    this.#sliceMs = sliceMs
    this.#maxWaiting = maxWaiting
  }

  /** Carriers with work that is not done. */
  get lanes(): number {
    return this.#lanes.size
  }

  /** Jobs of a carrier that wait. */
  waiting(carrier: string): number {
    const lane = this.#lanes.get(carrier)
    return lane === undefined ? 0 : lane.jobs.length - lane.head
  }

  /** The outcome of a check in this carrier's turn. @throws what the check throws; KithError `BUDGET_EXCEEDED` when too many wait already. */
  run<T>(carrier: string, check: () => T | Promise<T> | Later<T | Promise<T>>): Promise<T> {
    if (this.waiting(carrier) >= this.#maxWaiting) {
      return Promise.reject(new KithError('BUDGET_EXCEEDED', 'too much of this link waits to be verified', { details: { limit: this.#maxWaiting } }))
    }
    return new Promise((resolve, reject) => {
      const attempt = (step: () => T | Promise<T> | Later<T | Promise<T>>): unknown => {
        try {
          const result = step()
          if (result instanceof Later) return new Later(result.ready.then((run) => () => attempt(run)))
          resolve(result)
          return result
        } catch (error) {
          reject(error)
          return undefined
        }
      }
      this.push(carrier, () => attempt(check))
    })
  }

  /** Runs a job in this carrier's turn; it must not throw, and what it returns is waited for. How many may wait is the caller's care. */
  push(carrier: string, job: Job): void {
    let lane = this.#lanes.get(carrier)
    if (lane === undefined) {
      lane = { carrier, first: undefined, jobs: [], head: 0, busy: false }
      this.#lanes.set(carrier, lane)
    }
    lane.jobs.push(job)
    if (!lane.busy) this.#ready.add(lane)
    this.#pump()
  }

  #pump(): void {
    if (this.#running) return
    this.#running = true
    for (const lane of this.#ready) {
      if (this.#used >= this.#sliceMs) break
      this.#ready.delete(lane)
      this.#step(lane)
    }
    this.#running = false
    if (this.#used > 0 || this.#ready.size > 0) this.#endTurn()
  }

  /** A lane that goes on is added behind the others, and the loop over the set comes to it again. */
  #step(lane: Lane): void {
    const job = this.#take(lane)
    const started = this.#clock.monotonic()
    lane.busy = true
    const result = job()
    this.#used += this.#clock.monotonic() - started
    if (result instanceof Promise || result instanceof Later) {
      const done = (next?: Job): void => {
        lane.first = next
        this.#next(lane)
        this.#pump()
      }
      if (result instanceof Later) void result.ready.then(done)
      else
        result.then(
          () => done(),
          () => done(),
        )
    } else this.#next(lane)
  }

  #take(lane: Lane): Job {
    const { first } = lane
    lane.first = undefined
    if (first !== undefined) return first
    const job = lane.jobs[lane.head] as Job
    lane.jobs[lane.head++] = nothing
    if (lane.head === lane.jobs.length) {
      lane.jobs = []
      lane.head = 0
    }
    return job
  }

  #next(lane: Lane): void {
    lane.busy = false
    if (lane.first !== undefined || lane.head < lane.jobs.length) this.#ready.add(lane)
    else this.#lanes.delete(lane.carrier)
  }

  #endTurn(): void {
    if (this.#yielding) return
    this.#yielding = true
    void this.#yieldTurn().then(() => {
      this.#yielding = false
      this.#used = 0
      this.#pump()
    })
  }
}

function nothing(): void {}
