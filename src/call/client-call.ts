import { isKithError, KithError } from '../core/errors.ts'
import type { Numbered } from './call-table.ts'
import type { Expiring } from './deadlines.ts'
import { type ErrorForm, errorOfForm } from './errors.ts'
import { FORM_CHUNKED, FORM_MASK, KIND_CANCEL, KIND_END, KIND_ITEM, violation } from './frames.ts'
import { ItemQueue, type ItemSource } from './item-queue.ts'
import type { Outbox } from './outbox.ts'
import { decodePayload, type Encoding, FORM_NONE, tooLarge, Undecoded } from './payload.ts'
import { type Budget, Receiving } from './receiving.ts'
import { Sending } from './sending.ts'
import type { StreamItem } from './types.ts'

/** The stream that carries a call of ours. */
export interface CallCarrier {
  readonly outbox: Outbox
  readonly budget: Budget
  readonly payloadBytes: number
  /** The caller wants no more; the other side still owes its last word. */
  cancelled(call: ClientCall): void
  /** The call has ended on this side. */
  settled(call: ClientCall): void
}

/** One call of ours: what is asked, and what comes back. */
export abstract class ClientCall extends Sending implements Expiring, Numbered<ClientCall> {
  expiresAt: number = Number.POSITIVE_INFINITY
  earlier: Expiring | undefined
  later: Expiring | undefined
  nextInSlot: ClientCall | undefined
  stopListening: (() => void) | undefined
  /** What comes is handed on as it is. */
  undecoded = false
  protected readonly carrier: CallCarrier
  protected readonly encoding: Encoding
  protected over = false
  #receiving: Receiving | undefined
  #inputs: AsyncIterator<unknown> | undefined
  /** Of a call with a stream of inputs: what they and their failure are handed to. */
  #onInput: (result: IteratorResult<unknown>) => void = nothing
  #onInputError: (error: unknown) => void = nothing
  #paused = false

  constructor(carrier: CallCarrier, id: number, encoding: Encoding) {
    super(carrier.outbox, id)
    this.carrier = carrier
    this.encoding = encoding
  }

  /** The call has ended without an answer: tells whoever waits. */
  protected abstract failed(error: KithError): void
  protected abstract takeItem(value: unknown, id: string | undefined, cost: number): void
  protected abstract answered(value: unknown): void

  cancelled(error: KithError): void {
    this.giveUp(error)
  }

  expire(): void {
    this.giveUp(new KithError('CALL_TIMEOUT'))
  }

  /** Ends it on this side and tells the other. */
  giveUp(error: KithError): void {
    if (this.over) return
    this.clear()
    this.outbox.small(KIND_CANCEL, this.call, isKithError(error, 'CALL_TIMEOUT') ? 1 : 0)
    this.carrier.cancelled(this)
    this.close()
    this.failed(error)
  }

  /** The other side, or the end of the link, ended it. */
  endWith(error: KithError): void {
    if (this.over) return
    this.close()
    this.failed(error)
  }

  onError(form: ErrorForm): void {
    this.endWith(errorOfForm(form))
  }

  /** ITEM or END. @throws KithError `WIRE_MALFORMED` */
  onPayload(kind: number, form: number, id: string | undefined, total: number, data: Buffer, at: number, end: number): void {
    if (end > at) this.receive().charge(end - at)
    else if (this.#receiving?.assembling === true) throw violation('a message inside another')
    if ((form & FORM_CHUNKED) === 0) {
      this.#whole(kind, form & FORM_MASK, id, data, at, end, end - at)
      return
    }
    const limit = this.carrier.payloadBytes
    if (total > limit) this.giveUp(tooLarge(total, limit))
    else if (!this.receive().begin(kind, form & FORM_MASK, id, total, data, at, end))
      this.giveUp(new KithError('BUDGET_EXCEEDED', 'too many long payloads at once'))
  }

  /** @throws KithError `WIRE_MALFORMED` */
  onChunk(more: number, data: Buffer, at: number, end: number): void {
    const whole = this.receive().chunk(more, data, at, end)
    if (whole !== undefined) this.#whole(whole.kind, whole.form, whole.id, whole.data, 0, whole.data.length, whole.cost)
  }

  /** Sends what the iterable gives, as fast as the other side takes it. */
  sendInputs(inputs: AsyncIterable<unknown>): void {
    this.#onInput = (result) => this.#given(result)
    this.#onInputError = (error) => this.#inputFailed(error)
    this.#inputs = inputs[Symbol.asyncIterator]()
    this.#pump()
  }

  override onReady(): void {
    if (!this.#paused || !this.ready) return
    this.#paused = false
    this.#pump()
  }

  protected receive(): Receiving {
    this.#receiving ??= new Receiving(this.outbox, this.call, this.carrier.budget)
    return this.#receiving
  }

  protected close(): void {
    this.over = true
    this.clear()
    this.#receiving?.close()
    this.stopListening?.()
    this.carrier.settled(this)
    const inputs = this.#inputs
    this.#inputs = undefined
    if (inputs !== undefined) void Promise.resolve(inputs.return?.()).catch(nothing)
  }

  #whole(kind: number, form: number, id: string | undefined, data: Buffer, at: number, end: number, cost: number): void {
    let value: unknown
    try {
      value = this.undecoded && form !== FORM_NONE ? new Undecoded(form, data, at, end) : decodePayload(form, data, at, end)
    } catch (error) {
      if (!isKithError(error)) throw error
      if (kind === KIND_END) this.endWith(error)
      else this.giveUp(error)
      return
    }
    if (kind === KIND_ITEM) this.takeItem(value, id, cost)
    else this.answered(form === FORM_NONE ? undefined : value)
  }

  #pump(): void {
    if (this.over) return
    if (this.ready) this.#inputs?.next().then(this.#onInput, this.#onInputError)
    else this.#paused = true
  }

  #given(result: IteratorResult<unknown>): void {
    if (this.over) return
    try {
      if (result.done === true) {
        this.#inputs = undefined
        this.end(undefined, this.encoding)
      } else {
        this.item(result.value, this.encoding)
        this.#pump()
      }
    } catch (error) {
      this.#inputFailed(error)
    }
  }

  /** What the caller gave to be sent failed: its own error. */
  #inputFailed(error: unknown): void {
    this.giveUp(error instanceof KithError ? error : new KithError('ABORTED', 'The inputs of the call failed.', { cause: error }))
  }
}

/** One answer. */
export class UnaryCall extends ClientCall {
  #resolve: (value: unknown) => void = nothing
  #reject: (error: KithError) => void = nothing

  settle(resolve: (value: unknown) => void, reject: (error: KithError) => void): void {
    this.#resolve = resolve
    this.#reject = reject
  }

  protected failed(error: KithError): void {
    this.#reject(error)
  }

  protected takeItem(): void {
    throw violation('an item where one answer was asked for')
  }

  protected answered(value: unknown): void {
    this.close()
    this.#resolve(value)
  }
}

/** Items as they come, pulled by whoever iterates. */
export class StreamCall extends ClientCall implements ItemSource {
  readonly items: ItemQueue<StreamItem> = new ItemQueue<StreamItem>(this)

  taken(bytes: number, all: boolean): void {
    if (!this.over) this.receive().consumed(bytes, all)
  }

  stopped(): void {
    this.giveUp(new KithError('ABORTED'))
  }

  protected failed(error: KithError): void {
    this.items.end(error)
  }

  protected takeItem(value: unknown, id: string | undefined, cost: number): void {
    const { items } = this
    items.push(id === undefined ? { value } : { value, id }, cost)
    this.receive().waiting = items.waiting
  }

  protected answered(value: unknown): void {
    if (value !== undefined) throw violation('an answer at the end of a stream')
    this.close()
    this.items.end()
  }
}

const nothing = (): void => {}
