import type { Caller } from '../access/types.ts'
import type { Timer } from '../core/clock.ts'
import { isKithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'
import { Forwarder, nothingCalled } from './head-forward.ts'
import { type HeadMetrics, headMetrics } from './head-metrics.ts'
import { type ServedRegistration, serveRegistration } from './head-registration.ts'
import { EvenStream, HeadStream } from './head-stream.ts'
import { attached, WorkerTable } from './head-table.ts'
import {
  type AttachedWorker,
  HEAD_LIMITS,
  type Head,
  type HeadComponents,
  type HeadLimits,
  type OwnWorker,
  type WorkerIdentity,
  type WorkerStatus,
} from './head-types.ts'
import { type CallPath, parseCallPath } from './names.ts'
import type { Authorizable, Holds, IncomingCall, OperationDescription, OperationSummary, StreamItem } from './types.ts'
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

class CallHead implements Head {
  readonly #components: HeadComponents
  readonly #limits: HeadLimits
  readonly #metrics: HeadMetrics
  readonly #table: WorkerTable
  readonly #listeners: Set<() => void> = new Set()
  readonly #forwarder: Forwarder
  readonly #streams: Set<ServedRegistration> = new Set()

  constructor(components: HeadComponents) {
    this.#components = components
    this.#limits = { ...HEAD_LIMITS, ...components.limits }
    this.#metrics = headMetrics(components.metrics)
    this.#table = new WorkerTable(components, this.#limits, () => this.#changed())
    this.#forwarder = new Forwarder(components, this.#metrics, this.#table)
  }

  call(request: IncomingCall): Promise<unknown> {
    const path = this.#pathOf(request.path)
    if (path === undefined || path.node === '') {
      if (path === undefined || this.#table.size === 0) return this.#components.local.call(asHere(request, path))
      if (this.#components.hasLocal(path.name)) return this.#callHere(asHere(request, path), path)
    }
    return this.#forwarder.call(request, path)
  }

  stream(request: IncomingCall): AsyncIterableIterator<StreamItem> {
    const path = this.#pathOf(request.path)
    if (path === undefined || (path.node === '' && (this.#table.size === 0 || this.#components.hasLocal(path.name)))) {
      const items = this.#components.local.stream(asHere(request, path))
      return path === undefined || this.#table.size === 0 ? items : new EvenStream(items, () => this.#forwarder.askLikewise(request, path))
    }
    return new HeadStream(this.#forwarder.source(request, path))
  }

  carries(text: string): boolean {
    const path = this.#pathOf(text)
    return path !== undefined && (path.node !== '' || (this.#table.size > 0 && !this.#components.hasLocal(path.name)))
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
    if (found === undefined) this.#forwarder.askOfNothing(parsed, caller)
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
    const ended = (): void => void this.#streams.delete(served)
    const served = serveRegistration(stream, worker, {
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
    this.#streams.add(served)
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
      for (const served of [...this.#streams]) served.removed(worker)
    }
  }

  recheckCalls(holds: Holds): void {
    for (const worker of [...this.#table.all()]) worker.recheck(holds)
  }

  drain(ms: number): Promise<void> {
    this.#forwarder.draining = true
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
    this.#forwarder.draining = true
    for (const served of [...this.#streams]) served.stop()
    for (const worker of [...this.#table.all()]) this.#table.remove(worker)
    this.#listeners.clear()
  }

  /** An operation here; refused ones cost what unknown ones do. */
  async #callHere(request: IncomingCall, path: CallPath): Promise<unknown> {
    try {
      return await this.#components.local.call(request)
    } catch (error) {
      if (isKithError(error, 'CALL_UNKNOWN')) this.#forwarder.askLikewise(request, path)
      throw error
    }
  }

  /** With the name of this node itself taken off. */
  #pathOf(text: string): CallPath | undefined {
    const path = parseCallPath(text)
    return path !== undefined && path.node !== '' && this.#components.isHere?.(path.node) === true ? { node: '', name: path.name } : path
  }

  #shows(caller: Caller, authorizable: Authorizable): boolean {
    return this.#components.authorize(caller, authorizable) === 'allowed' || authorizable.visibility === 'listed'
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
