import type { Caller } from '../access/types.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { type Cancellable, Cancellation, onAbort } from './cancellation.ts'
import { NESTED } from './depth.ts'
import { notAnyMore } from './errors.ts'
import { Health } from './head-health.ts'
import type { WorkerCalls, WorkerIdentity, WorkerStatus } from './head-types.ts'
import type { Authorizable, Holds, IncomingCall } from './types.ts'
import type { OfferedOperation, Registration } from './worker-codec.ts'

/** An operation with what rules are asked about it. */
export interface Offered {
  readonly operation: OfferedOperation
  readonly authorizable: Authorizable
}

export interface WorkerParts {
  readonly alias: string
  readonly identity: WorkerIdentity
  /** Of this node itself: rules name its operations without the alias. */
  readonly own: boolean
  readonly calls: WorkerCalls
  readonly clock: Clock
  readonly maxCalls: number
}

/** A registered worker: what it offers, how it does, and the calls of this head that run there. */
export class Worker {
  readonly alias: string
  readonly identity: WorkerIdentity
  readonly own: boolean
  readonly calls: WorkerCalls
  readonly health: Health
  readonly sinceMs: number
  readonly #maxCalls: number
  readonly #flights: Set<Flight> = new Set()
  #operations: ReadonlyMap<string, Offered> = new Map()
  #draining = false
  #gone: KithError | undefined
  #idle: (() => void) | undefined
  /** Rises with each call: among equals, who waited longest goes first. */
  lastChosen = 0

  constructor({ alias, identity, own, calls, clock, maxCalls }: WorkerParts) {
    this.alias = alias
    this.identity = identity
    this.own = own
    this.calls = calls
    this.health = new Health(clock)
    this.sinceMs = clock.now()
    this.#maxCalls = maxCalls
  }

  get operations(): ReadonlyMap<string, Offered> {
    return this.#operations
  }

  get running(): number {
    return this.#flights.size
  }

  get draining(): boolean {
    return this.#draining
  }

  get serving(): boolean {
    return !this.#draining && this.#gone === undefined
  }

  /** The whole set at once: no call ever meets a half of it. */
  replace({ operations }: Registration): void {
    this.#operations = new Map(
      operations.map((operation) => {
        const { name, access, listed } = operation
        const authorizable = {
          name: this.own ? name : `${this.alias}/${name}`,
          ...(access === undefined ? {} : { access }),
          visibility: listed ? ('listed' as const) : ('hidden' as const),
        }
        return [name, { operation, authorizable }]
      }),
    )
  }

  /** @throws KithError `BUDGET_EXCEEDED` when as many calls run as may. */
  begin(request: IncomingCall, name: string): Flight {
    if (this.#flights.size >= this.#maxCalls) throw new KithError('BUDGET_EXCEEDED', 'This worker has as many calls as it may.')
    const flight = new Flight(this, request, name)
    this.#flights.add(flight)
    return flight
  }

  ended(flight: Flight): void {
    if (this.#flights.delete(flight) && this.#flights.size === 0) this.#idle?.()
  }

  /** No new calls; resolves when none runs any more. */
  drain(): Promise<void> {
    this.#draining = true
    return this.#flights.size === 0
      ? Promise.resolve()
      : new Promise((resolve) => {
          const before = this.#idle
          this.#idle = () => {
            before?.()
            resolve()
          }
        })
  }

  /** Ends the calls that may not go on. */
  recheck(holds: Holds): void {
    for (const flight of [...this.#flights]) {
      const authorizable = this.#operations.get(flight.name)?.authorizable ?? {
        name: this.own ? flight.name : `${this.alias}/${flight.name}`,
        visibility: 'hidden',
      }
      if (!holds(flight.caller, authorizable, flight.nested)) flight.cancelled(notAnyMore())
    }
  }

  /** It is not there any more: each call that runs ends with the same error, once. */
  lose(): void {
    if (this.#gone !== undefined) return
    this.#gone = new KithError('WORKER_LOST')
    for (const flight of [...this.#flights]) flight.cancellation.cancel(this.#gone)
  }

  status(): WorkerStatus {
    const { alias, identity, health, sinceMs } = this
    return {
      alias,
      did: identity.peer,
      linkKey: identity.linkKey,
      state: this.#draining ? 'draining' : health.ejected ? 'ejected' : 'serving',
      operations: this.#operations.size,
      services: [...servicesOf([...this.#operations.keys()])],
      running: this.#flights.size,
      calls: health.calls,
      failures: health.failures,
      sinceMs,
    }
  }
}

/** One call at one worker. Ends with the caller's cancellation, and when the worker goes. */
export class Flight implements Cancellable {
  readonly worker: Worker
  readonly cancellation: Cancellation = new Cancellation()
  readonly probe: boolean
  /** `service/op`. */
  readonly name: string
  readonly #request: IncomingCall
  readonly #unlink: () => void

  constructor(worker: Worker, request: IncomingCall, name: string) {
    this.worker = worker
    this.name = name
    this.probe = worker.health.began()
    this.#request = request
    request.cancellation?.add(this)
    this.#unlink = request.signal === undefined ? () => undefined : onAbort(request.signal, this)
  }

  get caller(): Caller {
    return this.#request.caller
  }

  get nested(): boolean {
    return NESTED in this.#request
  }

  cancelled(error: KithError): void {
    this.cancellation.cancel(error)
  }

  end(): void {
    this.#request.cancellation?.remove(this)
    this.#unlink()
    this.worker.ended(this)
  }
}

export function servicesOf(names: readonly string[]): Set<string> {
  return new Set(names.map((name) => name.slice(0, name.indexOf('/'))))
}
