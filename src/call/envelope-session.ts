import type { Duplex } from 'node:stream'
import type { Caller } from '../access/types.ts'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { Cancellation } from './cancellation.ts'
import { DEFAULT_ENVELOPE_BYTES, type Envelope, EnvelopeReader, encodeEnvelope, isRecord, openError } from './envelope.ts'
import { unknownOperation } from './errors.ts'
import type { Callee, IncomingCall, StreamItem } from './types.ts'

export interface EnvelopeLimits {
  /** Longest frame, both ways. Default 4 MiB, at most 64 MiB. */
  readonly frameBytes?: number
  /** Calls under way at once. Default 64. */
  readonly calls?: number
}

export interface EnvelopeSessionOptions {
  readonly callee: Callee
  /** Who is at the other end, as the door found out. */
  readonly caller: Caller
  readonly clock: Clock
  readonly limits?: EnvelopeLimits
}

export interface EnvelopeSession {
  /** Calls under way. */
  readonly running: number
  /** Resolves once with why it ended; `undefined` when the other side ended and everything was answered. Never rejects. */
  readonly closed: Promise<KithError | undefined>
  /** Ends the calls under way and the connection. */
  close(error?: KithError): void
}

const DEFAULT_CALLS = 64
const TRACE = /^[0-9a-f]{32}$/
const EVENT = /^[\x21-\x7e]{1,128}$/
const nothing = (): void => {}

/** Answers calls in the open form on any duplex: the door has found out who is there, and read nothing of what belongs to the session. */
export function createEnvelopeSession(duplex: Duplex, options: EnvelopeSessionOptions): EnvelopeSession {
  return new Session(duplex, options)
}

class Session implements EnvelopeSession {
  readonly closed: Promise<KithError | undefined>
  readonly #duplex: Duplex
  readonly #options: EnvelopeSessionOptions
  readonly #reader: EnvelopeReader
  readonly #limit: number
  readonly #maxCalls: number
  readonly #calls: Map<string, OpenCall> = new Map()
  readonly #resolve: (error: KithError | undefined) => void
  #ended = false
  #over = false

  constructor(duplex: Duplex, options: EnvelopeSessionOptions) {
    this.#duplex = duplex
    this.#options = options
    this.#limit = options.limits?.frameBytes ?? DEFAULT_ENVELOPE_BYTES
    this.#maxCalls = options.limits?.calls ?? DEFAULT_CALLS
    this.#reader = new EnvelopeReader(this.#limit)
    const { promise, resolve } = Promise.withResolvers<KithError | undefined>()
    this.closed = promise
    this.#resolve = resolve
    duplex.on('data', (chunk: Buffer) => this.#receive(chunk))
    duplex.on('drain', () => this.#drained())
    duplex.on('end', () => this.#onEnd())
    duplex.on('error', (error) => this.#finish(asKithError(error, 'LINK_LOST')))
    duplex.on('close', () => this.#finish(new KithError('LINK_LOST')))
    options.caller.revoked?.addEventListener('abort', this.#revoked, { once: true })
    if (options.caller.revoked?.aborted === true) this.#revoked()
  }

  get running(): number {
    return this.#calls.size
  }

  close(error: KithError = new KithError('CLOSED')): void {
    this.#finish(error)
  }

  /** False: the other side does not read fast enough. Nothing more is read from it either, until it does. */
  send(envelope: Envelope): boolean {
    if (this.#over) return true
    const room = this.#duplex.write(encodeEnvelope(envelope, this.#limit))
    if (!room) this.#duplex.pause()
    return room
  }

  /** The last word of a call, whatever it is; where no frame may be as long as that, nothing can be said at all. */
  last(envelope: Envelope): void {
    try {
      this.send(envelope)
    } catch (error) {
      this.#finish(asKithError(error, 'INTERNAL'))
    }
  }

  get full(): boolean {
    return this.#duplex.writableNeedDrain
  }

  forget(call: OpenCall): void {
    this.#calls.delete(call.id)
    if (this.#ended && this.#calls.size === 0) this.#finish(undefined)
  }

  readonly #revoked = (): void => this.#finish(new KithError('POLICY_DENIED'))

  #receive(chunk: Buffer): void {
    if (this.#over) return
    try {
      this.#reader.push(chunk, this.#onEnvelope)
    } catch (error) {
      this.#finish(asKithError(error, 'WIRE_MALFORMED'))
    }
  }

  readonly #onEnvelope = (envelope: Envelope): void => {
    if (this.#over) return
    const { type, id } = envelope
    if (type === 'call.aborted') this.#calls.get(id)?.abort()
    else if (type === 'call.requested') this.#request(envelope)
    // Answers to calls that nobody made here are of no use to anybody.
  }

  #request({ id, payload }: Envelope): void {
    // The answers of two calls of one id could not be told apart.
    if (this.#calls.has(id)) {
      this.#finish(new KithError('WIRE_MALFORMED', 'two calls under way with one id'))
      return
    }
    if (this.#calls.size >= this.#maxCalls) {
      const error = new KithError('BUDGET_EXCEEDED', 'too many calls at once', { details: { limit: this.#maxCalls } })
      this.last({ type: 'call.error', id, payload: openError(error) })
      return
    }
    const call = new OpenCall(this, id)
    this.#calls.set(id, call)
    const { callee, caller, clock } = this.#options
    call.begin(callee, payload, caller, clock.now())
  }

  #drained(): void {
    if (this.#over) return
    this.#duplex.resume()
    for (const call of [...this.#calls.values()]) call.resume()
  }

  #onEnd(): void {
    this.#ended = true
    if (this.#reader.open) this.#finish(new KithError('WIRE_MALFORMED', 'the connection ended inside a frame'))
    else if (this.#calls.size === 0) this.#finish(undefined)
  }

  #finish(error: KithError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#options.caller.revoked?.removeEventListener('abort', this.#revoked)
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const call of calls) call.lost(error ?? new KithError('LINK_LOST'))
    if (error === undefined) this.#duplex.end()
    else this.#duplex.destroy()
    this.#resolve(error)
  }
}

/** One call of a session: asked of the callee, answered in events. */
class OpenCall {
  readonly id: string
  readonly #session: Session
  readonly #cancellation: Cancellation = new Cancellation()
  #iterator: AsyncIterator<StreamItem> | undefined
  #paused = false
  #over = false

  constructor(session: Session, id: string) {
    this.#session = session
    this.id = id
  }

  begin(callee: Callee, payload: unknown, caller: Caller, now: number): void {
    try {
      // A query is a stream of one answer.
      this.#iterator = callee.stream(requestOf(payload, caller, now, this.#cancellation))
      this.resume(true)
    } catch (error) {
      this.#onError(error)
    }
  }

  /** Asks for the next item while the other side reads. */
  resume(first = false): void {
    if (this.#over || !(first || this.#paused)) return
    this.#paused = false
    this.#iterator?.next().then(this.#onItem, this.#onError)
  }

  abort(): void {
    this.#end('call.aborted', {}, new KithError('ABORTED'))
  }

  lost(cause: KithError): void {
    this.#stop(new KithError('ABORTED', 'The caller is gone.', { cause }))
  }

  readonly #onItem = (result: IteratorResult<StreamItem>): void => {
    if (this.#over) return
    if (result.done === true) {
      this.#iterator = undefined
      this.#end('call.completed', {})
      return
    }
    const { value, id } = result.value
    try {
      const output = value === undefined ? null : value
      this.#session.send({ type: 'call.responded', id: this.id, payload: id === undefined ? { output } : { output, eventId: id } })
    } catch (error) {
      this.#onError(error instanceof KithError ? error : new KithError('CALL_FAILED', undefined, { cause: error }))
      return
    }
    if (this.#session.full) this.#paused = true
    else this.#iterator?.next().then(this.#onItem, this.#onError)
  }

  readonly #onError = (error: unknown): void => this.#end('call.error', openError(error))

  #end(type: 'call.completed' | 'call.aborted' | 'call.error', payload: unknown, error?: KithError): void {
    if (this.#over) return
    this.#stop(error)
    this.#session.last({ type, id: this.id, payload })
    this.#session.forget(this)
  }

  #stop(error: KithError | undefined): void {
    if (this.#over) return
    this.#over = true
    const iterator = this.#iterator
    this.#iterator = undefined
    if (error !== undefined) this.#cancellation.cancel(error)
    if (iterator !== undefined) void Promise.resolve(iterator.return?.()).catch(nothing)
  }
}

/** Only what a caller may say of its own call: no identity, no parent. @throws KithError `CALL_INPUT`, `CALL_UNKNOWN`, `CALL_TIMEOUT` */
function requestOf(payload: unknown, caller: Caller, now: number, cancellation: Cancellation): IncomingCall {
  if (!isRecord(payload)) throw new KithError('CALL_INPUT', 'The payload of call.requested is an object.')
  const { operationId, input, deadline, traceId, lastEventId } = payload
  if (typeof operationId !== 'string') throw unknownOperation()
  if (deadline !== undefined && typeof deadline !== 'number') throw new KithError('CALL_INPUT', 'A deadline is in ms since 1970.')
  if (deadline !== undefined && deadline <= now) throw new KithError('CALL_TIMEOUT')
  if (traceId !== undefined && !(typeof traceId === 'string' && TRACE.test(traceId))) throw new KithError('CALL_INPUT', 'A trace id is 16 bytes in hex.')
  if (lastEventId !== undefined && !(typeof lastEventId === 'string' && EVENT.test(lastEventId)))
    throw new KithError('CALL_INPUT', 'An event id is visible ASCII.')
  return {
    caller,
    path: operationId,
    input,
    cancellation,
    ...(deadline === undefined ? {} : { deadlineMs: deadline - now }),
    ...(traceId === undefined ? {} : { traceId }),
    ...(lastEventId === undefined ? {} : { lastEventId }),
  }
}
