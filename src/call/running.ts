import type { Caller } from '../access/types.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { type Cancellable, Cancellation, onAbort } from './cancellation.ts'
import type { Expiring } from './deadlines.ts'
import type { AnyOperation, CallContext } from './define.ts'
import { NESTED } from './depth.ts'
import { CheckedInputs } from './inputs.ts'
import type { LocalParts } from './local-parts.ts'
import type { CallOptions, IncomingCall, StreamItem } from './types.ts'

/** Calls within calls on one node; more is a circle. */
export const MAX_NESTED = 16

/** What becomes of a call. */
export interface Outcome {
  /** It ended before its handler did. */
  ended(error: KithError): void
}

/** One call while its handler runs: what the handler sees, and what ends it early. */
export class Running implements CallContext, Cancellable, Expiring {
  readonly caller: Caller
  readonly operation: AnyOperation
  readonly expiresAt: number
  readonly depth: number
  earlier: Expiring | undefined
  later: Expiring | undefined
  readonly #parts: LocalParts
  readonly #request: IncomingCall
  #outcome: Outcome | undefined
  #cancellation: Cancellation | undefined
  #error: KithError | undefined
  #stopListening: (() => void) | undefined
  #open = true
  #id: string | undefined
  #traceId: string | undefined
  #inputs: CheckedInputs | undefined
  #nested: Caller | undefined

  constructor(parts: LocalParts, operation: AnyOperation, request: IncomingCall) {
    this.#parts = parts
    this.operation = operation
    this.caller = request.caller
    this.#request = request
    this.depth = request[NESTED]?.depth ?? 0
    const asked = request.deadlineMs
    const own = operation.deadlineMs
    const within = asked === undefined ? own : own === null ? asked : Math.min(asked, own)
    this.expiresAt = within === null ? Number.POSITIVE_INFINITY : parts.clock.monotonic() + within
  }

  /** From here on it may end early. */
  begin(outcome: Outcome): void {
    this.#outcome = outcome
    this.#parts.deadlines.add(this)
    const { cancellation, signal } = this.#request
    if (cancellation !== undefined) cancellation.add(this)
    else if (signal !== undefined) this.#stopListening = onAbort(signal, this)
  }

  /** The handler is done with it, or nobody waits any more: what it started ends. */
  finish(error?: KithError): void {
    if (!this.#open) return
    this.#open = false
    this.#outcome = undefined
    this.#parts.deadlines.delete(this)
    this.#request.cancellation?.remove(this)
    this.#stopListening?.()
    if (error !== undefined) this.#error = error
    this.#cancellation?.cancel(error ?? new KithError('ABORTED', 'The call is over.'))
  }

  get open(): boolean {
    return this.#open
  }

  cancelled(error: KithError): void {
    const outcome = this.#outcome
    this.finish(error)
    outcome?.ended(error)
  }

  expire(): void {
    this.cancelled(new KithError('CALL_TIMEOUT'))
  }

  get signal(): AbortSignal {
    return this.#cancel().signal
  }

  get deadlineMs(): number | null {
    return this.expiresAt === Number.POSITIVE_INFINITY ? null : Math.max(0, this.expiresAt - this.#parts.clock.monotonic())
  }

  get traceId(): string {
    this.#traceId ??= this.#request.traceId ?? hex(this.#parts.random.bytes(16))
    return this.#traceId
  }

  get id(): string {
    this.#id ??= hex(this.#parts.random.bytes(8))
    return this.#id
  }

  get parentId(): string | undefined {
    return this.#request.parentId
  }

  get lastEventId(): string | undefined {
    return this.#request.lastEventId
  }

  get repeated(): boolean {
    return this.#request.repeated ?? false
  }

  get inputs(): CheckedInputs {
    this.#inputs ??= new CheckedInputs(this.operation, this.#request)
    return this.#inputs
  }

  get log(): Logger {
    return this.#parts.logger.child({ operation: this.operation.name, call: this.id, trace: this.traceId })
  }

  /** Handlers take it off the context, so it carries its own. */
  get call(): (path: string, input?: unknown, options?: CallOptions) => Promise<unknown> {
    return async (path, input, options) => await this.#parts.call(this.#requestFor(path, input, options))
  }

  get stream(): (path: string, input?: unknown, options?: CallOptions) => AsyncIterableIterator<StreamItem> {
    return (path, input, options) => this.#parts.stream(this.#requestFor(path, input, options))
  }

  /** The caller, with what the handler was declared to have besides. */
  #nestedCaller(): Caller {
    const { grants } = this.operation
    if (grants.length === 0) return this.caller
    const granted = ({ through, ...caller }: Caller): Caller => ({
      ...caller,
      scopes: new Set([...caller.scopes, ...grants]),
      ...(through === undefined ? {} : { through: granted(through) }),
    })
    this.#nested ??= granted(this.caller)
    return this.#nested
  }

  #requestFor(path: string, input: unknown, options: CallOptions = {}): IncomingCall {
    if (!this.#open) throw this.#error ?? new KithError('ABORTED', 'The call is over.')
    if (this.depth >= MAX_NESTED) throw new KithError('BUDGET_EXCEEDED', 'too many calls within calls', { details: { limit: MAX_NESTED } })
    const left = this.deadlineMs
    const deadlineMs = options.deadlineMs === undefined ? left : Math.min(options.deadlineMs, left ?? Number.POSITIVE_INFINITY)
    const { signal, lastEventId, repeated } = options
    return {
      caller: this.#nestedCaller(),
      path,
      input,
      traceId: this.traceId,
      parentId: this.id,
      [NESTED]: { depth: this.depth + 1, routed: false },
      ...(deadlineMs === null ? {} : { deadlineMs }),
      ...(lastEventId === undefined ? {} : { lastEventId }),
      ...(repeated === undefined ? {} : { repeated }),
      ...(signal === undefined ? { cancellation: this.#cancel() } : { signal: AbortSignal.any([signal, this.signal]) }),
    }
  }

  #cancel(): Cancellation {
    if (this.#cancellation === undefined) {
      this.#cancellation = new Cancellation()
      if (!this.#open) this.#cancellation.cancel(this.#error ?? new KithError('ABORTED', 'The call is over.'))
    }
    return this.#cancellation
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
