import type { Caller } from '../access/types.ts'
import type { Timer } from '../core/clock.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'
import { unknownOperation } from './errors.ts'
import { type HeadMetrics, headMetrics } from './head-metrics.ts'
import { type Outcome, outcomeOf } from './head-outcome.ts'
import { serveRegistration } from './head-registration.ts'
import { HeadStream, type Started, type StreamSource } from './head-stream.ts'
import { attached, WorkerTable } from './head-table.ts'
import {
  type AttachedWorker,
  HEAD_LIMITS,
  type Head,
  type HeadComponents,
  type HeadLimits,
  type OwnWorker,
  type WorkerCallOptions,
  type WorkerIdentity,
  type WorkerStatus,
} from './head-types.ts'
import type { Flight, Offered, Worker } from './head-worker.ts'
import { type CallPath, parseCallPath } from './names.ts'
import type { Authorizable, IncomingCall, OperationDescription, OperationSummary, StreamItem } from './types.ts'
import { isAlias, type Registration } from './worker-codec.ts'

/**
 * # Head
 *
 * ```text
 *              .-- service/op ------> local callee          its own operations go first
 * door -> head +-- service/op ------> least busy worker that offers it, and that the rules let this caller use
 *              `-- /alias/service/op > that worker
 * ```
 *
 * ## Provided
 * - Access is decided here and again by the worker, for the caller and for this head: the narrower answer stands.
 * - Deadlines, cancellation and back-pressure pass through; no item of a stream is kept.
 * - A call at a worker that goes ends with one `WORKER_LOST`, or is made again elsewhere when the operation is idempotent and nothing of its stream was delivered.
 * - What a caller may not know of is answered with the bytes and the work of what does not exist.
 *
 * ## Not provided
 * Exactly-once: whether a lost call was carried out is not known.
 */
export function createHead(components: HeadComponents): Head {
  return new CallHead(components)
}

/** Further attempts at other workers. */
const MAX_RETRIES = 2
/** For operations that say nothing, when they are no streams. */
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

class CallHead implements Head {
  readonly #components: HeadComponents
  readonly #limits: HeadLimits
  readonly #metrics: HeadMetrics
  readonly #table: WorkerTable
  readonly #listeners: Set<() => void> = new Set()
  #draining = false
  readonly #streams: Set<() => void> = new Set()

  constructor(components: HeadComponents) {
    this.#components = components
    this.#limits = { ...HEAD_LIMITS, ...components.limits }
    this.#metrics = headMetrics(components.metrics)
    this.#table = new WorkerTable(components, this.#limits, () => this.#changed())
  }

  call(request: IncomingCall): Promise<unknown> {
    const path = this.#pathOf(request.path)
    if (path === undefined || path.node === '') {
      if (path === undefined || this.#table.size === 0) return this.#components.local.call(asHere(request, path))
      if (this.#components.hasLocal(path.name)) return this.#callHere(asHere(request, path), path)
    }
    return this.#callWorker(this.#attempts(request, path))
  }

  stream(request: IncomingCall): AsyncIterableIterator<StreamItem> {
    const path = this.#pathOf(request.path)
    if (path === undefined || (path.node === '' && (this.#table.size === 0 || this.#components.hasLocal(path.name)))) {
      const items = this.#components.local.stream(asHere(request, path))
      return path === undefined || this.#table.size === 0 ? items : new EvenStream(items, () => this.#choose(this.#attempts(request, path)))
    }
    return new HeadStream(this.#streamSource(this.#attempts(request, path)))
  }

  async list(caller: Caller): Promise<readonly OperationSummary[]> {
    const shown = [...(await this.#components.local.list(caller))]
    for (const worker of [...this.#table.all()].sort((a, b) => (a.alias < b.alias ? -1 : 1))) {
      for (const { operation, authorizable } of worker.operations.values()) {
        if (!this.#shows(caller, authorizable)) continue
        const { name, kind, summary } = operation
        shown.push({ name, kind, node: worker.alias, ...(summary === undefined ? {} : { summary }) })
      }
    }
    return shown
  }

  async describe(path: string, caller: Caller): Promise<OperationDescription | undefined> {
    const parsed = this.#pathOf(path)
    if (parsed === undefined) return await this.#components.local.describe(path, caller)
    if (parsed.node === '' && (this.#table.size === 0 || this.#components.hasLocal(parsed.name))) {
      const own = await this.#components.local.describe(parsed.name, caller)
      if (own === undefined) this.#describeWorker(parsed, caller)
      return own
    }
    const found = this.#describeWorker(parsed, caller)
    if (found === undefined) this.#askOfNothing(parsed, caller)
    return found
  }

  #describeWorker({ node, name }: CallPath, caller: Caller): OperationDescription | undefined {
    const workers = node === '' ? this.#table.inOrder(name) : [this.#table.get(node)]
    let found: OperationDescription | undefined
    for (const worker of workers) {
      const offered = worker?.operations.get(name)
      const shown = this.#shows(caller, offered?.authorizable ?? nothingCalled(worker, node, name))
      if (offered === undefined || worker === undefined || !shown || found !== undefined) continue
      const { access: _access, listed: _listed, ...description } = offered.operation
      found = { ...description, node: worker.alias }
    }
    return found
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    const stop = this.#components.local.onChange(listener)
    return () => {
      this.#listeners.delete(listener)
      stop()
    }
  }

  accept(stream: LinkStream, worker: WorkerIdentity, own?: OwnWorker): void {
    const { clock, logger, onWorker } = this.#components
    const ended = (): void => void this.#streams.delete(stop)
    const stop = serveRegistration(stream, worker, {
      table: this.#table,
      limits: this.#limits,
      clock,
      logger,
      onEvent: (event) => {
        this.#metrics.registration(event.type)
        onWorker?.(event)
      },
      ended,
      ...(own === undefined ? {} : { own }),
    })
    this.#streams.add(stop)
  }

  attach(registration: Registration, calls: HeadComponents['client'], worker: WorkerIdentity): AttachedWorker {
    if (!isAlias(registration.alias)) throw new TypeError('an alias is 1 to 32 lower-case letters, digits and dashes, a letter first')
    return attached(this.#table, this.#table.register(registration, worker, undefined, calls), calls)
  }

  workers(): readonly WorkerStatus[] {
    return [...this.#table.all()].map((worker) => worker.status()).sort((a, b) => (a.alias < b.alias ? -1 : 1))
  }

  recheck(): void {
    for (const worker of [...this.#table.all()]) {
      if (this.#table.stillPermitted(worker) || !this.#table.remove(worker)) continue
      this.#components.onWorker?.({ type: 'removed', alias: worker.alias, operations: worker.operations.size, reason: 'WORKER_DENIED', ...worker.identity })
    }
  }

  drain(ms: number): Promise<void> {
    this.#draining = true
    const idle = Promise.all([...this.#table.all()].map((worker) => worker.drain()))
    return new Promise((resolve) => {
      const timer: Timer = this.#components.clock.after(ms, resolve, { keepAlive: true })
      void idle.then(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  close(): void {
    this.#draining = true
    for (const stop of [...this.#streams]) stop()
    for (const worker of [...this.#table.all()]) this.#table.remove(worker)
    this.#listeners.clear()
  }

  /** An operation here; refused ones cost what unknown ones do. */
  async #callHere(request: IncomingCall, path: CallPath): Promise<unknown> {
    try {
      return await this.#components.local.call(request)
    } catch (error) {
      if (isKithError(error, 'CALL_UNKNOWN')) this.#choose(this.#attempts(request, path))
      throw error
    }
  }

  async #callWorker(attempts: Attempts): Promise<unknown> {
    for (;;) {
      const choice = this.#next(attempts)
      const flight = choice.worker.begin(attempts.request)
      const { request, path } = attempts
      try {
        const value = await choice.worker.calls.call(choice.worker.identity, path.name, request.input, this.#options(attempts, flight))
        this.#completed(attempts, flight)
        return value
      } catch (error) {
        this.#failed(error, attempts, flight, false)
      } finally {
        flight.end()
      }
    }
  }

  #streamSource(attempts: Attempts): StreamSource {
    return {
      begin: (): Started => {
        const { worker } = this.#next(attempts)
        const flight = worker.begin(attempts.request)
        try {
          const items = worker.calls.stream(worker.identity, attempts.path.name, attempts.request.input, this.#options(attempts, flight))
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
      this.#askOfNothing(attempts.path, attempts.request.caller)
      throw attempts.last ?? choice
    }
    if (this.#draining && !choice.worker.serving) throw new KithError('GOING_AWAY')
    if (!choice.worker.serving) throw attempts.last ?? new KithError('WORKER_DRAINING')
    this.#table.chosen(choice.worker)
    attempts.choice = choice
    attempts.tried.push(choice.worker)
    attempts.began = this.#components.clock.monotonic()
    return choice
  }

  /** A name that this node could have is asked about here too, so that one it has and hides takes the same work as one that nobody has. */
  #askOfNothing({ node, name }: CallPath, caller: Caller): void {
    if (node === '') this.#components.authorize(caller, { name, visibility: 'hidden' })
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
    if (stream) return
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
    const limits = [request.deadlineMs, choice?.offered.operation.deadlineMs ?? undefined].filter((ms) => ms !== undefined)
    if (limits.length === 0) return undefined
    return Math.max(0, Math.min(...limits) - (this.#components.clock.monotonic() - startedAt))
  }

  #options({ request, choice, startedAt, repeated }: Attempts, { cancellation }: Flight): WorkerCallOptions {
    const { caller, traceId, parentId, lastEventId, inputs } = request
    const deadlineMs = this.#timeLeft(request, choice, startedAt)
    return {
      caller,
      cancellation,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      ...(traceId === undefined ? {} : { traceId }),
      ...(parentId === undefined ? {} : { parentId }),
      ...(lastEventId === undefined ? {} : { lastEventId }),
      ...(inputs === undefined ? {} : { inputs }),
      ...(repeated || request.repeated === true ? { repeated: true } : {}),
    }
  }

  #attempts(request: IncomingCall, path: CallPath): Attempts {
    const now = this.#components.clock.monotonic()
    return { request, path, startedAt: now, tried: [], repeated: false, choice: undefined, began: now, last: undefined }
  }

  /** With the name of this node itself taken off. */
  #pathOf(text: string): CallPath | undefined {
    const path = parseCallPath(text)
    return path !== undefined && path.node !== '' && this.#components.isHere?.(path.node) === true ? { node: '', name: path.name } : path
  }

  #shows(caller: Caller, authorizable: Authorizable): boolean {
    return this.#components.authorize(caller, authorizable) === 'allowed' || authorizable.visibility === 'listed'
  }

  #eject(worker: Worker, name: string, reason: 'failing' | 'slow'): void {
    if (!this.#table.eject(worker, name)) return
    this.#metrics.ejected()
    this.#components.logger.warn('worker put aside', { alias: worker.alias, reason })
  }

  #changed(): void {
    this.#metrics.workers(this.#table.size)
    for (const listener of [...this.#listeners]) listener()
  }
}

/** The request as the local callee reads it. Doors hand in objects of their own, so one that says nothing of a node goes on as it is. */
function asHere(request: IncomingCall, path: CallPath | undefined): IncomingCall {
  return path === undefined || parseCallPath(request.path)?.node === '' ? request : { ...request, path: path.name }
}

/** Asked about in place of what does not exist. */
function nothingCalled(worker: Worker | undefined, node: string, name: string): Authorizable {
  return { name: worker?.own === true ? name : `${worker?.alias ?? (node === '' ? NO_OPERATION : node)}/${name}`, visibility: 'hidden' }
}

/** Items of this node's own; a refusal costs what it does for a name that nobody has. */
class EvenStream implements AsyncIterableIterator<StreamItem> {
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
