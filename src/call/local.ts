import type { Caller } from '../access/types.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import { Deadlines } from './deadlines.ts'
import type { AnyOperation } from './define.ts'
import { NESTED } from './depth.ts'
import { discoveryOperations } from './discovery.ts'
import { notAnyMore, unknownOperation } from './errors.ts'
import { checkInput, inputError } from './inputs.ts'
import type { LocalParts } from './local-parts.ts'
import { LocalStream } from './local-stream.ts'
import { parseCallPath } from './names.ts'
import { checkedOutput, tellable } from './outcome.ts'
import { descriptionOf, type Registry, summaryOf } from './registry.ts'
import { type Outcome, Running } from './running.ts'
import { Stragglers } from './stragglers.ts'
import type { Authorizable, Authorize, Callee, Holds, IncomingCall, OperationDescription, OperationSummary, StreamItem } from './types.ts'

export interface LocalCalleeOptions {
  readonly registry: Registry
  readonly authorize: Authorize
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Where calls of handlers go, and what `/services/list` shows: a head in front of this callee. Default: here. */
  readonly root?: () => Callee
}

export interface LocalCallee extends Callee {
  /** Ends the calls under way that may not go on; what they started ends with them. */
  recheck(holds: Holds): void
  /** Ends every call under way with `error`, and takes no more. */
  close(error?: KithError): void
}

/** Stands for what does not exist, so that asking for it takes the same work. */
const NO_NAME = 'unknown/unknown'

/**
 * Runs operations of this node: access, validation, deadline, cancellation, validation of what comes out. `/services/list` and `/services/schema` are added to the
 * registry.
 */
export function createLocalCallee(options: LocalCalleeOptions): LocalCallee {
  return new Local(options)
}

class Local implements LocalCallee, LocalParts {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly deadlines: Deadlines
  readonly stragglers: Stragglers = new Stragglers()
  readonly #registry: Registry
  readonly #authorize: Authorize
  readonly #root: () => Callee
  readonly #withdraw: () => void
  #closed: KithError | undefined

  constructor({ registry, authorize, clock, random, logger, root }: LocalCalleeOptions) {
    this.clock = clock
    this.random = random
    this.logger = logger
    this.deadlines = new Deadlines(clock)
    this.#registry = registry
    this.#authorize = authorize
    this.#root = root ?? ((): Callee => this)
    this.#withdraw = registry.registerAll(discoveryOperations(() => this.#root()))
  }

  call(request: IncomingCall): Promise<unknown> {
    try {
      const operation = this.#find(request)
      if (operation === undefined) return this.#root().call(routed(request))
      if (operation.kind === 'subscription') return firstOf(this.#stream(operation, request))
      const input = checkedInput(operation, request)
      return new Unary(this, new Running(this, operation, request)).run(input)
    } catch (error) {
      return Promise.reject(error as KithError)
    }
  }

  stream(request: IncomingCall): AsyncIterableIterator<StreamItem> {
    try {
      const operation = this.#find(request)
      return operation === undefined ? this.#root().stream(routed(request)) : this.#stream(operation, request)
    } catch (error) {
      return failing(error as KithError)
    }
  }

  async list(caller: Caller): Promise<readonly OperationSummary[]> {
    const shown: OperationSummary[] = []
    for (const operation of this.#registry.all()) if (this.#shows(operation, caller)) shown.push(summaryOf(operation))
    return shown
  }

  async describe(path: string, caller: Caller): Promise<OperationDescription | undefined> {
    const parsed = parseCallPath(path)
    const operation = parsed?.node === '' ? this.#registry.get(parsed.name) : undefined
    const verdict = this.#authorize(caller, operation ?? decoy(parsed?.name))
    if (operation === undefined || operation.visibility === 'internal') return undefined
    return verdict === 'allowed' || operation.visibility === 'listed' ? descriptionOf(operation) : undefined
  }

  onChange(listener: () => void): () => void {
    return this.#registry.onChange(listener)
  }

  recheck(holds: Holds): void {
    for (const running of this.deadlines.all()) {
      if (running instanceof Running && !holds(running.caller, running.operation, running.depth > 0)) running.cancelled(notAnyMore())
    }
  }

  close(error: KithError = new KithError('CLOSED')): void {
    if (this.#closed !== undefined) return
    this.#closed = error
    this.#withdraw()
    for (const running of this.deadlines.all()) running.cancelled(error)
    this.deadlines.close()
  }

  #shows(operation: AnyOperation, caller: Caller): boolean {
    if (operation.visibility === 'internal') return false
    return this.#authorize(caller, operation) === 'allowed' || operation.visibility === 'listed'
  }

  /**
   * `undefined`: a handler's call that is not for this callee.
   * @throws KithError `CALL_UNKNOWN`, also for what this caller may not know of, by the same steps; `CALL_DENIED`.
   */
  #find({ path, caller, [NESTED]: nested }: IncomingCall): AnyOperation | undefined {
    if (this.#closed !== undefined) throw this.#closed
    const parsed = parseCallPath(path)
    const operation = parsed?.node === '' ? this.#registry.get(parsed.name) : undefined
    if (operation === undefined && nested?.routed === false && parsed !== undefined && this.#root() !== this) return undefined
    const verdict = this.#authorize(caller, operation ?? decoy(parsed?.name))
    if (operation === undefined || verdict === 'hidden' || (operation.visibility === 'internal' && nested === undefined)) throw unknownOperation()
    if (verdict !== 'allowed') throw operation.visibility === 'listed' ? new KithError('CALL_DENIED') : unknownOperation()
    this.stragglers.check(caller.id, operation.name)
    return operation
  }

  #stream(operation: AnyOperation, request: IncomingCall): AsyncIterableIterator<StreamItem> {
    if (operation.kind !== 'subscription') return oneItem(() => this.call(request))
    const input = checkedInput(operation, request)
    const running = new Running(this, operation, request)
    return new LocalStream(running, this, () => operation.handler(input, running))
  }
}

/** One question, one answer: the promise of `call`, settled by the handler or by whatever ends the call before. */
class Unary implements Outcome {
  readonly #parts: LocalParts
  readonly #running: Running
  #resolve: (value: unknown) => void = nothing
  #reject: (error: KithError) => void = nothing
  /** For the handler's promise. */
  #waiting = false
  /** Among those that run on for nobody. */
  #counted = false

  constructor(parts: LocalParts, running: Running) {
    this.#parts = parts
    this.#running = running
  }

  run(input: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      const running = this.#running
      running.begin(this)
      if (!running.open) return
      let answer: unknown
      try {
        answer = running.operation.handler(input, running)
      } catch (error) {
        this.#failed(error)
        return
      }
      if (isThenable(answer)) {
        this.#waiting = true
        // It may have ended while the handler had not yet given anything to wait for.
        if (!running.open) this.#count()
        answer.then(
          (value) => this.#answered(value),
          (error: unknown) => this.#failed(error),
        )
      } else this.#answered(answer)
    })
  }

  ended(error: KithError): void {
    if (this.#waiting) this.#count()
    this.#reject(error)
  }

  #answered(value: unknown): void {
    const running = this.#running
    if (!running.open) {
      this.#straggled()
      return
    }
    running.finish()
    try {
      this.#resolve(checkedOutput(running.operation, value, this.#parts.logger))
    } catch (error) {
      this.#reject(error as KithError)
    }
  }

  #failed(error: unknown): void {
    const running = this.#running
    if (!running.open) {
      this.#straggled()
      return
    }
    running.finish()
    this.#reject(tellable(running.operation, error, this.#parts.logger))
  }

  #count(): void {
    this.#counted = true
    this.#parts.stragglers.add(this.#running)
  }

  #straggled(): void {
    if (this.#counted) this.#parts.stragglers.remove(this.#running)
  }
}

const nothing = (): void => {}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** @throws KithError `CALL_INPUT` */
function checkedInput(operation: AnyOperation, { input, inputs }: IncomingCall): unknown {
  if (operation.clientStream) return undefined
  if (inputs !== undefined) throw new KithError('CALL_INPUT', 'The operation takes one input, not a stream of them.')
  const checked = checkInput(operation, input)
  if (!checked.ok) throw inputError(checked.misfit)
  return checked.value
}

/** What comes back from the head is for this callee, or for nobody. */
function routed(request: IncomingCall): IncomingCall {
  return { ...request, [NESTED]: { depth: request[NESTED]?.depth ?? 0, routed: true } }
}

function decoy(name = NO_NAME): Authorizable {
  return { name, visibility: 'hidden' }
}

/** A subscription that is called ends after one answer. */
async function firstOf(stream: AsyncIterableIterator<StreamItem>): Promise<unknown> {
  for await (const { value } of stream) return value
  throw new KithError('CALL_FAILED', 'The subscription ended without an answer.')
}

async function* oneItem(call: () => Promise<unknown>): AsyncGenerator<StreamItem> {
  yield { value: await call() }
}

function failing(error: KithError): AsyncIterableIterator<StreamItem> {
  return oneItem(() => Promise.reject(error))
}
