import type { Caller } from '../access/types.ts'
import { KithError } from '../core/errors.ts'
import { unknownOperation, unreadable } from './errors.ts'
import { LATENCY_FLOOR_MS } from './head-health.ts'
import type { HeadMetrics } from './head-metrics.ts'
import { type Outcome, outcomeOf } from './head-outcome.ts'
import type { Started, StreamSource } from './head-stream.ts'
import type { WorkerTable } from './head-table.ts'
import type { HeadComponents, WorkerCallOptions } from './head-types.ts'
import type { Flight, Offered, Worker } from './head-worker.ts'
import type { CallPath } from './names.ts'
import { Undecoded } from './payload.ts'
import type { Authorizable, IncomingCall } from './types.ts'

/** Further attempts at other workers. */
const MAX_RETRIES = 2
/** In place of an alias, where none was named. */
const NO_OPERATION = 'unknown'

interface Choice {
  readonly worker: Worker
  readonly offered: Offered
}

/** What of a call lasts over its attempts. */
interface Attempts {
  readonly request: IncomingCall
  readonly path: CallPath
  readonly startedAt: number
  readonly tried: Worker[]
  repeated: boolean
  /** Of the last attempt. */
  choice: Choice | undefined
  began: number
  last: KithError | undefined
}

/** Chooses a worker for each call, hands the call on, and makes it again elsewhere where that may be. */
export class Forwarder {
  readonly #components: HeadComponents
  readonly #metrics: HeadMetrics
  readonly #table: WorkerTable
  /** The head ends: what drains does so for good. */
  draining = false

  constructor(components: HeadComponents, metrics: HeadMetrics, table: WorkerTable) {
    this.#components = components
    this.#metrics = metrics
    this.#table = table
  }

  async call(request: IncomingCall, path: CallPath): Promise<unknown> {
    const attempts = this.#attempts(request, path)
    for (;;) {
      const choice = this.#next(attempts)
      const input = inputFor(choice.worker, request)
      const flight = choice.worker.begin(attempts.request, path.name)
      try {
        const value = await choice.worker.calls.call(choice.worker.identity, path.name, input, this.#options(attempts, flight))
        this.#completed(attempts, flight)
        return value
      } catch (error) {
        this.#failed(error, attempts, flight, false)
      } finally {
        flight.end()
      }
    }
  }

  source(request: IncomingCall, path: CallPath): StreamSource {
    const attempts = this.#attempts(request, path)
    return {
      begin: (): Started => {
        const { worker } = this.#next(attempts)
        const input = inputFor(worker, request)
        const flight = worker.begin(attempts.request, path.name)
        try {
          const items = worker.calls.stream(worker.identity, attempts.path.name, input, this.#options(attempts, flight))
          return { items, flight }
        } catch (error) {
          flight.end()
          throw error
        }
      },
      ended: (flight) => {
        // How long a stream ran says nothing about its worker.
        if (flight.cancellation.error === undefined) this.#completed(attempts, flight, true)
        else flight.worker.health.ended(flight.probe)
        flight.end()
      },
      failed: (error, flight, delivered) => {
        flight.end()
        this.#failed(error, attempts, flight, delivered)
      },
    }
  }

  /** Another worker for this call. @throws KithError `CALL_UNKNOWN`, `CALL_DENIED`, or what the last attempt ended with when nobody is left. */
  #next(attempts: Attempts): Choice {
    const choice = this.#choose(attempts)
    if (choice instanceof KithError) {
      this.askOfNothing(attempts.path, attempts.request.caller)
      throw attempts.last ?? choice
    }
    if (this.draining && !choice.worker.serving) throw new KithError('GOING_AWAY')
    if (!choice.worker.serving) throw attempts.last ?? new KithError('WORKER_DRAINING')
    this.#table.chosen(choice.worker)
    attempts.choice = choice
    attempts.tried.push(choice.worker)
    attempts.began = this.#components.clock.monotonic()
    return choice
  }

  /** A name that this node could have is asked about here too, so that one it has and hides takes the same work as one that nobody has. */
  askOfNothing({ node, name }: CallPath, caller: Caller): void {
    if (node === '') this.#components.authorize(caller, { name, visibility: 'hidden' })
  }

  /** The questions of a call to a name that is answered elsewhere: refusing that takes as much work as for a name that nobody has. */
  askLikewise(request: IncomingCall, path: CallPath): void {
    this.#choose(this.#attempts(request, path))
  }

  /** Asks the rules about every worker that could be meant, or about one that does not exist, until one may be used. */
  #choose({ path: { node, name }, request: { caller }, tried }: Attempts): Choice | KithError {
    const workers = node === '' ? this.#table.inOrder(name) : [this.#table.get(node)]
    let listed = false
    for (const worker of workers) {
      const offered = worker?.operations.get(name)
      const verdict = this.#components.authorize(caller, offered?.authorizable ?? nothingCalled(worker, node, name))
      if (worker === undefined || offered === undefined) continue
      if (verdict === 'allowed' && !tried.includes(worker)) return { worker, offered }
      if (verdict === 'denied' && offered.operation.listed) listed = true
    }
    return listed ? new KithError('CALL_DENIED') : unknownOperation()
  }

  #completed(attempts: Attempts, { worker, probe }: Flight, stream = false): void {
    const took = this.#components.clock.monotonic() - attempts.began
    worker.health.succeeded(stream ? undefined : took, probe)
    this.#metrics.forwarded('completed')
    if (stream || worker.health.latencyMs <= LATENCY_FLOOR_MS) return
    const median = this.#table.medianOfOthers(worker, attempts.path.name)
    if (median !== undefined && worker.health.tooSlow(median)) this.#eject(worker, attempts.path.name, 'slow')
  }

  /** Returns when the call is to be made again. @throws KithError what the caller is told. */
  #failed(thrown: unknown, attempts: Attempts, flight: Flight, delivered: boolean): void {
    const { worker, probe } = flight
    const outcome = outcomeOf(thrown, flight, this.#components.clock.monotonic() - attempts.began)
    this.#metrics.forwarded(outcome.kind)
    if (outcome.kind === 'answered') worker.health.succeeded(undefined, probe)
    else if (outcome.kind === 'ended' || outcome.error.code === 'WORKER_DRAINING') worker.health.ended(probe)
    else if (worker.health.failed(probe)) this.#eject(worker, attempts.path.name, 'failing')
    if (delivered || !this.#mayRepeat(attempts, outcome)) throw outcome.error
    if (outcome.kind === 'lost') attempts.repeated = true
    attempts.last = outcome.error
    this.#metrics.retried()
  }

  #mayRepeat({ request, choice, tried, startedAt }: Attempts, { kind }: Outcome): boolean {
    const idempotent = choice?.offered.operation.idempotent === true
    // What was read of a stream of inputs cannot be read again.
    if (request.inputs !== undefined || tried.length > MAX_RETRIES || !(kind === 'not-begun' || (kind === 'lost' && idempotent))) return false
    return this.#timeLeft(request, choice, startedAt) !== 0
  }

  /** Ms; `undefined` without a deadline. */
  #timeLeft(request: IncomingCall, choice: Choice | undefined, startedAt: number): number | undefined {
    const own = choice?.offered.operation.deadlineMs ?? Number.POSITIVE_INFINITY
    const limit = Math.min(request.deadlineMs ?? Number.POSITIVE_INFINITY, own)
    return limit === Number.POSITIVE_INFINITY ? undefined : Math.max(0, limit - (this.#components.clock.monotonic() - startedAt))
  }

  #options({ request, choice, startedAt, repeated }: Attempts, { cancellation }: Flight): WorkerCallOptions {
    const { caller, traceId, parentId, lastEventId, inputs } = request
    const deadlineMs = this.#timeLeft(request, choice, startedAt)
    // One object for each call, not one for each field.
    const options: { -readonly [K in keyof WorkerCallOptions]: WorkerCallOptions[K] } = { caller, cancellation }
    if (deadlineMs !== undefined) options.deadlineMs = deadlineMs
    if (traceId !== undefined) options.traceId = traceId
    if (parentId !== undefined) options.parentId = parentId
    if (lastEventId !== undefined) options.lastEventId = lastEventId
    if (inputs !== undefined) options.inputs = inputs
    if (repeated || request.repeated === true) options.repeated = true
    return options
  }

  #attempts(request: IncomingCall, path: CallPath): Attempts {
    const now = this.#components.clock.monotonic()
    return { request, path, startedAt: now, tried: [], repeated: false, choice: undefined, began: now, last: undefined }
  }

  #eject(worker: Worker, name: string, reason: 'failing' | 'slow'): void {
    if (!this.#table.eject(worker, name)) return
    this.#metrics.ejected()
    this.#components.logger.warn('worker put aside', { alias: worker.alias, reason })
  }
}

/** As it came, for workers on links; anybody else is handed values. @throws KithError `CALL_INPUT` */
function inputFor(worker: Worker, { input }: IncomingCall): unknown {
  if (!(input instanceof Undecoded) || worker.calls.undecoded === true) return input
  try {
    return input.value()
  } catch (error) {
    throw unreadable(error)
  }
}

/** Asked about in place of what does not exist. */
export function nothingCalled(worker: Worker | undefined, node: string, name: string): Authorizable {
  return { name: worker?.own === true ? name : `${worker?.alias ?? (node === '' ? NO_OPERATION : node)}/${name}`, visibility: 'hidden' }
}
