import type { Clock, Timer } from '../core/clock.ts'
import { malformed } from '../core/codec.ts'
import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'
import { CallTable } from './call-table.ts'
import { abortReason, type Cancellation, onAbort } from './cancellation.ts'
import { type CallCarrier, type ClientCall, StreamCall, UnaryCall } from './client-call.ts'
import type { Deadlines } from './deadlines.ts'
import { FrameReader } from './frame-reader.ts'
import {
  Cursor,
  checkRequest,
  FORM_EVENT,
  KIND_CHUNK,
  KIND_CREDIT,
  KIND_END,
  KIND_ERROR,
  KIND_ITEM,
  MAX_CALL,
  MAX_EVENT_ID,
  type RequestFields,
  readError,
  readTotal,
  violation,
} from './frames.ts'
import { Outbox } from './outbox.ts'
import { decodePayload, type Encoding, Undecoded } from './payload.ts'
import { Budget } from './receiving.ts'
import type { CallOptions, StreamItem } from './types.ts'

/** Calls of ours that may be open on one stream. */
const MAX_OPEN = 10_000
/** A stream without calls for this long is ended. */
export const IDLE_MS = 60_000
/** Refusals of the stream itself: the other side never saw a call. Anything else is the loss of the link. */
const REFUSALS: readonly string[] = ['PROTOCOL_UNKNOWN', 'POLICY_DENIED', 'BUDGET_EXCEEDED', 'GOING_AWAY', 'LINK_MOVED', 'BANNED']

export interface LinkCallOptions extends CallOptions {
  /** How input and answers travel. Bytes always travel as they are. Default JSON. */
  readonly encoding?: Encoding
  /** A stream of inputs instead of one. */
  readonly inputs?: AsyncIterable<unknown>
  /** Instead of `signal`, by whoever makes many calls. */
  readonly cancellation?: Cancellation
}

export interface ClientLinkParts {
  readonly clock: Clock
  readonly deadlines: Deadlines
  readonly payloadBytes: number
  readonly budgetBytes: number
  /** No new calls here: the stream ended, or is about to. Called once. */
  readonly onRetired: (link: ClientLink) => void
  /** It is over. Called once. */
  readonly onOver: (link: ClientLink) => void
}

/** The calling side of one stream of calls. */
export class ClientLink implements CallCarrier {
  readonly outbox: Outbox
  readonly budget: Budget
  readonly payloadBytes: number
  readonly #stream: LinkStream
  readonly #parts: ClientLinkParts
  readonly #frames: FrameReader
  readonly #cursor: Cursor = new Cursor()
  readonly #calls: CallTable<ClientCall> = new CallTable()
  /** Given up here, and not yet ended by the other side. */
  readonly #cancelled: Set<number> = new Set()
  #last = 0
  #idle: Timer | undefined
  #retired = false
  #over = false

  constructor(stream: LinkStream, parts: ClientLinkParts) {
    this.#stream = stream
    this.#parts = parts
    this.payloadBytes = parts.payloadBytes
    this.outbox = new Outbox(stream)
    this.budget = new Budget(parts.budgetBytes)
    this.#frames = new FrameReader(this.#onFrame)
    stream.onData = (data, start, end) => {
      try {
        if (!this.#over) this.#frames.push(data, start, end)
      } catch (error) {
        this.#violated(asKithError(error, 'INTERNAL'))
      }
      stream.consume(end - start)
    }
    stream.onEnd = () => this.#gone(new KithError('LINK_LOST', 'The other side ended the stream of calls.'), true)
    stream.onError = (error) => this.#gone(error, true)
    stream.onClose = () => this.#gone(new KithError('LINK_LOST'), false)
    this.outbox.onRoom = () => {
      for (const call of this.#calls.all()) call.onReady()
    }
    this.#watch()
  }

  /** The machine at the other end, by its link key. */
  get linkKey(): Uint8Array {
    return this.#stream.connection.remoteKey
  }

  /** @param statement who the call is made for. */
  call(path: string, input: unknown, options: LinkCallOptions, statement?: Uint8Array): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const call = new UnaryCall(this, this.#number(), options.encoding ?? 'json')
      call.settle(resolve, reject)
      this.#begin(call, path, input, options, statement, false)
    })
  }

  stream(path: string, input: unknown, options: LinkCallOptions, statement?: Uint8Array): AsyncIterableIterator<StreamItem> {
    const call = new StreamCall(this, this.#number(), options.encoding ?? 'json')
    this.#begin(call, path, input, options, statement, true)
    return call.items
  }

  /** Takes no new calls; ends when those under way have. */
  retire(): void {
    if (!this.#retired) {
      this.#retired = true
      this.#idle?.cancel()
      this.#parts.onRetired(this)
    }
    this.#endWhenIdle()
  }

  close(error: KithError): void {
    this.#gone(error, true)
  }

  cancelled(call: ClientCall): void {
    this.#cancelled.add(call.call)
  }

  settled(call: ClientCall): void {
    this.#calls.delete(call)
    this.#parts.deadlines.delete(call)
    if (this.#retired) this.#endWhenIdle()
  }

  /** @throws KithError `BUDGET_EXCEEDED` */
  #number(): number {
    if (this.#calls.size + this.#cancelled.size >= MAX_OPEN) throw new KithError('BUDGET_EXCEEDED', 'too many calls at once', { details: { limit: MAX_OPEN } })
    const number = ++this.#last
    if (number === MAX_CALL) this.retire()
    return number
  }

  #begin(call: ClientCall, path: string, input: unknown, options: LinkCallOptions, statement: Uint8Array | undefined, items: boolean): void {
    const { signal, cancellation, deadlineMs, traceId, parentId, lastEventId, repeated, inputs, encoding } = options
    const fields: RequestFields = { path, traceId, parentId, deadlineMs, lastEventId, repeated, statement, items, inputs: inputs !== undefined }
    checkRequest(fields)
    const before = cancellation?.error ?? (signal?.aborted === true ? abortReason(signal) : undefined)
    if (before !== undefined) {
      this.#last--
      call.endWith(before)
      return
    }
    call.undecoded = input instanceof Undecoded
    call.request(fields, input, encoding ?? 'json')
    this.#calls.add(call)
    if (deadlineMs !== undefined) {
      call.expiresAt = this.#parts.clock.monotonic() + deadlineMs
      this.#parts.deadlines.add(call)
    }
    if (cancellation !== undefined) {
      cancellation.add(call)
      call.stopListening = () => cancellation.remove(call)
    } else if (signal !== undefined) call.stopListening = onAbort(signal, call)
    if (inputs !== undefined) call.sendInputs(inputs)
  }

  readonly #onFrame = (kind: number, id: number, data: Buffer, at: number, end: number): void => {
    if (this.#over) return
    const call = this.#calls.get(id)
    if (call === undefined) this.#onLate(kind, id)
    else this.#dispatch(call, kind, this.#cursor.set(data, at, end))
  }

  #dispatch(call: ClientCall, kind: number, cursor: Cursor): void {
    switch (kind) {
      case KIND_END:
      case KIND_ITEM: {
        const form = cursor.u8()
        if (form > 15 || (kind === KIND_END && form > 7)) throw malformed('form of a payload', { form })
        const id = (form & FORM_EVENT) === 0 ? undefined : cursor.ascii(MAX_EVENT_ID)
        const total = readTotal(cursor, form)
        call.onPayload(kind, form, id, total, cursor.data, cursor.at, cursor.end)
        break
      }
      case KIND_ERROR: {
        const { code, message, form } = readError(cursor)
        call.onError({ code, message, details: this.#details(form, cursor) })
        break
      }
      case KIND_CHUNK: {
        const more = cursor.u8()
        call.onChunk(more, cursor.data, cursor.at, cursor.end)
        break
      }
      case KIND_CREDIT: {
        const bytes = cursor.u32()
        if (cursor.at !== cursor.end) throw malformed('form of credit')
        call.grant(bytes)
        break
      }
      default:
        throw malformed('kind of frame', { kind })
    }
  }

  /** The error counts, whatever its details are. */
  #details(form: number, cursor: Cursor): unknown {
    try {
      return decodePayload(form, cursor.data, cursor.at, cursor.end)
    } catch {
      return undefined
    }
  }

  /** For a call that is over here: legal only until the other side has said its last word about one that was given up. */
  #onLate(kind: number, id: number): void {
    if (!this.#cancelled.has(id)) throw violation('a word about a call that is over')
    if (kind !== KIND_END && kind !== KIND_ERROR) return
    this.#cancelled.delete(id)
    if (this.#retired) this.#endWhenIdle()
  }

  #violated(error: KithError): void {
    this.#gone(error, true)
  }

  #endWhenIdle(): void {
    if (this.#over || this.#calls.size > 0 || this.#cancelled.size > 0) return
    this.#over = true
    this.outbox.end()
    this.#parts.onOver(this)
    // The other side ends when it has read that.
    this.#stream.onEnd = nothing
    this.#stream.onError = nothing
    this.#stream.onClose = nothing
  }

  #gone(error: KithError, reset: boolean): void {
    if (this.#over) return
    this.#over = true
    if (reset) this.#stream.reset(error.number)
    this.outbox.drop()
    this.#idle?.cancel()
    const refused = REFUSALS.includes(error.code) || isKithError(error, 'CLOSED')
    const told = refused || isKithError(error, 'LINK_LOST') ? error : new KithError('LINK_LOST', undefined, { cause: error })
    const calls = this.#calls.all()
    this.#cancelled.clear()
    if (!this.#retired) {
      this.#retired = true
      this.#parts.onRetired(this)
    }
    this.#parts.onOver(this)
    for (const call of calls) call.endWith(told)
  }

  /** One timer for the stream: it looks whether anything was asked since it last looked. */
  #watch(): void {
    let seen = this.#last
    const look = (): void => {
      if (this.#over) return
      if (this.#calls.size === 0 && this.#last === seen) {
        this.retire()
        return
      }
      seen = this.#last
      this.#idle = this.#parts.clock.after(IDLE_MS, look)
    }
    this.#idle = this.#parts.clock.after(IDLE_MS, look)
  }
}

const nothing = (): void => {}
