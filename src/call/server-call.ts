import type { Caller } from '../access/types.ts'
import { KithError } from '../core/errors.ts'
import type { Numbered } from './call-table.ts'
import { Cancellation } from './cancellation.ts'
import { errorForm, unreadable } from './errors.ts'
import { FLAG_INPUTS, FLAG_ITEMS, FLAG_REPEATED, FORM_CHUNKED, FORM_MASK, KIND_ITEM, KIND_REQUEST, type RequestHead, violation } from './frames.ts'
import { ItemQueue, type ItemSource } from './item-queue.ts'
import type { Outbox } from './outbox.ts'
import { decodePayload, type Encoding, FORM_CBOR, FORM_NONE, tooLarge, Undecoded } from './payload.ts'
import { type Budget, Receiving } from './receiving.ts'
import { Sending } from './sending.ts'
import type { Callee, IncomingCall, StreamItem } from './types.ts'

/** The stream that carries a call. */
export interface CallHome {
  readonly outbox: Outbox
  readonly budget: Budget
  readonly callee: Callee
  callerOf(statement: Uint8Array | undefined): Caller | undefined | Promise<Caller | undefined>
  /** Whether it may begin now; if not it was refused, or will be begun. */
  enter(call: ServerCall): boolean
  /** The callee is done with a call that had begun. */
  leave(): void
  /** Everything was said. */
  forget(call: ServerCall): void
}

const NOBODY: Caller = { id: 'nobody', via: 'link', scopes: new Set(), resources: new Map() }
const nothing = (): void => {}

/** One call of the peer: what the callee is asked, and how it is answered. Answered exactly once, whatever happens first. */
export class ServerCall extends Sending implements IncomingCall, ItemSource, Numbered<ServerCall> {
  nextInSlot: ServerCall | undefined
  caller: Caller = NOBODY
  readonly path: string
  readonly cancellation: Cancellation = new Cancellation()
  input: unknown
  declare readonly inputs?: ItemQueue<unknown>
  declare readonly traceId?: string
  declare readonly parentId?: string
  declare readonly deadlineMs?: number
  declare readonly lastEventId?: string
  declare readonly repeated?: boolean
  /** Length of the input, while the call waits for its turn. */
  bytes = 0
  readonly #home: CallHome
  readonly #statement: Uint8Array | undefined
  readonly #items: boolean
  readonly #encoding: Encoding
  #receiving: Receiving | undefined
  #inputsOpen: boolean
  #iterator: AsyncIterator<StreamItem> | undefined
  /** Of a stream: what its items and its end are handed to. */
  #onItem: (result: IteratorResult<StreamItem>) => void = nothing
  #onEnd: (error: unknown) => void = nothing
  /** The next item is asked for when there is room. */
  #paused = false
  /** The last word was said, or waits to be. */
  #answered = false
  /** The callee has it. */
  #running = false

  constructor(home: CallHome, id: number, head: RequestHead) {
    super(home.outbox, id)
    this.#home = home
    this.path = head.path
    this.#statement = head.statement
    this.#items = (head.flags & FLAG_ITEMS) !== 0
    this.#encoding = (head.form & FORM_MASK) === FORM_CBOR ? 'cbor' : 'json'
    if (head.traceId !== undefined) this.traceId = head.traceId
    if (head.parentId !== undefined) this.parentId = head.parentId
    if (head.deadlineMs !== undefined) this.deadlineMs = head.deadlineMs
    if (head.lastEventId !== undefined) this.lastEventId = head.lastEventId
    if ((head.flags & FLAG_REPEATED) !== 0) this.repeated = true
    this.#inputsOpen = (head.flags & FLAG_INPUTS) !== 0
    if (this.#inputsOpen) this.inputs = new ItemQueue(this)
  }

  /** What came with the request: the input, or its first piece. @throws KithError `WIRE_MALFORMED` */
  first(head: RequestHead, data: Buffer, at: number, end: number): void {
    if ((head.form & FORM_CHUNKED) === 0) {
      this.#whole(head.form, data, at, end)
      return
    }
    const receiving = this.#receive()
    receiving.charge(end - at)
    if (!receiving.begin(KIND_REQUEST, head.form & FORM_MASK, undefined, head.total, data, at, end)) this.refuse(noRoom())
  }

  /** An item of the caller's stream. @throws KithError `WIRE_MALFORMED` */
  takeInput(form: number, total: number, data: Buffer, at: number, end: number, limit: number): void {
    if (this.#answered) return
    if (!this.#inputsOpen) throw violation('an input that was not announced')
    const receiving = this.#receive()
    receiving.charge(end - at)
    if ((form & FORM_CHUNKED) === 0) this.#push(form, data, at, end, end - at)
    else if (total > limit) this.refuse(tooLarge(total, limit))
    else if (!receiving.begin(KIND_ITEM, form & FORM_MASK, undefined, total, data, at, end)) this.refuse(noRoom())
  }

  /** A further piece. @throws KithError `WIRE_MALFORMED` */
  chunk(more: number, data: Buffer, at: number, end: number): void {
    if (this.#answered) return
    const whole = this.#receive().chunk(more, data, at, end)
    if (whole === undefined) return
    if (whole.kind === KIND_REQUEST) this.#whole(whole.form, whole.data, 0, whole.data.length)
    else this.#push(whole.form, whole.data, 0, whole.data.length, whole.cost)
  }

  /** The caller has said all its inputs. @throws KithError `WIRE_MALFORMED` */
  endInputs(): void {
    if (this.#answered) return
    if (!this.#inputsOpen || this.#receiving?.assembling === true) throw violation('an end of inputs out of order')
    this.#inputsOpen = false
    this.inputs?.end()
  }

  /** Its turn has come. */
  begin(): void {
    this.#running = true
    this.bytes = 0
    try {
      const caller = this.#home.callerOf(this.#statement)
      if (caller instanceof Promise) caller.then(this.#asCaller.bind(this), this.#failed.bind(this))
      else this.#asCaller(caller)
    } catch (error) {
      this.#failed(error)
    }
  }

  /** Ends the call from this side, or on the caller's word: it is answered, and the handler is told. */
  refuse(error: KithError): void {
    if (this.#answered) return
    this.#close(error)
    this.error(errorForm(error))
    this.#home.forget(this)
  }

  /** The stream is gone: there is nobody to answer. */
  lost(cause: KithError): void {
    if (!this.#answered) this.#close(new KithError('ABORTED', 'The caller is gone.', { cause }))
    this.clear()
  }

  override onReady(): void {
    if (this.#answered) {
      if (this.said) this.#home.forget(this)
    } else if (this.#paused && this.ready) {
      this.#paused = false
      this.#pump()
    }
  }

  taken(bytes: number, all: boolean): void {
    if (!this.#answered) this.#receiving?.consumed(bytes, all)
  }

  stopped(): void {
    // What still comes is dropped as it arrives.
  }

  #asCaller(caller: Caller | undefined): void {
    if (caller === undefined) {
      this.#failed(new KithError('CALL_DENIED'))
      return
    }
    if (this.#answered) {
      this.#leave()
      return
    }
    this.caller = caller
    // It may have waited, and meanwhile what answers may have changed.
    if (this.input instanceof Undecoded && !this.#carried()) {
      try {
        this.input = this.input.value()
      } catch (error) {
        this.#failed(unreadable(error))
        return
      }
    }
    if (!this.#items) {
      this.#home.callee.call(this).then(
        (value) => {
          this.#leave()
          this.#answer(value)
        },
        (error: unknown) => this.#failed(error),
      )
      return
    }
    this.#onItem = (result) => this.#given(result)
    this.#onEnd = (error) => this.#failed(error)
    this.#iterator = this.#home.callee.stream(this)[Symbol.asyncIterator]()
    this.#pump()
  }

  #given(result: IteratorResult<StreamItem>): void {
    if (this.#answered) return
    if (result.done === true) {
      this.#leave()
      this.#answer(undefined)
      return
    }
    const { value, id } = result.value
    try {
      this.item(value, this.#encoding, id)
    } catch (error) {
      this.refuse(new KithError('CALL_FAILED', undefined, { cause: error }))
      return
    }
    this.#pump()
  }

  #failed(error: unknown): void {
    this.#leave()
    this.refuse(error instanceof KithError ? error : new KithError('CALL_FAILED', undefined, { cause: error }))
  }

  #pump(): void {
    if (this.ready) this.#iterator?.next().then(this.#onItem, this.#onEnd)
    else this.#paused = true
  }

  #answer(value: unknown): void {
    if (this.#answered) return
    try {
      this.end(value, this.#encoding)
    } catch (error) {
      this.refuse(new KithError('CALL_FAILED', undefined, { cause: error }))
      return
    }
    this.#answered = true
    this.#quiet()
    if (this.said) this.#home.forget(this)
  }

  #carried(): boolean {
    return this.#home.callee.carries?.(this.path) === true
  }

  #whole(form: number, data: Buffer, at: number, end: number): void {
    this.bytes = end - at
    try {
      this.input = form !== FORM_NONE && this.#carried() ? new Undecoded(form, data, at, end) : decodePayload(form, data, at, end)
    } catch (error) {
      this.refuse(unreadable(error))
      return
    }
    if (this.#home.enter(this)) this.begin()
  }

  #push(form: number, data: Buffer, at: number, end: number, cost: number): void {
    let value: unknown
    try {
      value = decodePayload(form, data, at, end)
    } catch (error) {
      this.refuse(unreadable(error))
      return
    }
    const inputs = this.inputs as ItemQueue<unknown>
    if (inputs.ended) this.#receiving?.consumed(cost, true)
    else inputs.push(value, cost)
    if (this.#receiving !== undefined) this.#receiving.waiting = inputs.waiting
  }

  #close(error: KithError): void {
    this.#answered = true
    this.#quiet(error)
    this.cancellation.cancel(error)
    const iterator = this.#iterator
    if (iterator === undefined) return
    this.#iterator = undefined
    void Promise.resolve(iterator.return?.()).catch(nothing)
    this.#leave()
  }

  /** Nothing more is heard. */
  #quiet(error?: KithError): void {
    this.#receiving?.close()
    this.#receiving = undefined
    this.inputs?.end(error)
  }

  #leave(): void {
    if (!this.#running) return
    this.#running = false
    this.#home.leave()
  }

  #receive(): Receiving {
    this.#receiving ??= new Receiving(this.outbox, this.call, this.#home.budget)
    return this.#receiving
  }
}

function noRoom(): KithError {
  return new KithError('BUDGET_EXCEEDED', 'too many long payloads at once')
}
