import type { Caller } from '../access/types.ts'
import { malformed } from '../core/codec.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'
import { CallTable } from './call-table.ts'
import { FrameReader } from './frame-reader.ts'
import { Cursor, KIND_CANCEL, KIND_CHUNK, KIND_CREDIT, KIND_END, KIND_ITEM, KIND_REQUEST, readRequest, readTotal, violation } from './frames.ts'
import { Outbox } from './outbox.ts'
import { tooLarge } from './payload.ts'
import { Budget } from './receiving.ts'
import { type CallHome, ServerCall } from './server-call.ts'
import type { Callee } from './types.ts'

/** What the calls of one stream may cost this side. */
export interface ServeLimits {
  /** Calls under way at once. */
  readonly calls: number
  /** Calls that may wait behind those. */
  readonly waiting: number
  /** Bytes of the inputs of those that wait. */
  readonly waitingBytes: number
  /** Longest single input or item. */
  readonly payloadBytes: number
  /** What all calls may have in pieces or in larger windows. */
  readonly budgetBytes: number
}

export interface ServedStream {
  readonly callee: Callee
  /** Who makes the call; `undefined` refuses it. */
  readonly callerOf: (statement: Uint8Array | undefined) => Caller | undefined | Promise<Caller | undefined>
  readonly limits: () => ServeLimits
  /** New calls are refused with this. */
  readonly refusal: () => KithError | undefined
  /** The peer did what no correct one does. */
  readonly onViolation: (error: KithError) => void
  /** A call began or ended. */
  readonly onCount: (change: 1 | -1) => void
  readonly onClose: () => void
}

/** The accepting side of one stream of calls. */
export class ServerLink implements CallHome {
  readonly parts: ServedStream
  readonly outbox: Outbox
  readonly budget: Budget
  readonly #stream: LinkStream
  readonly #frames: FrameReader
  readonly #cursor: Cursor = new Cursor()
  readonly #calls: CallTable<ServerCall> = new CallTable()
  /** Received and not begun, oldest first. */
  readonly #queue: ServerCall[] = []
  #queuedBytes = 0
  #running = 0
  #last = 0
  /** Bytes of the peer for which the stream got no credit back, because what we say is not read. */
  #owed = 0
  #peerEnded = false
  #over = false

  constructor(stream: LinkStream, parts: ServedStream) {
    this.#stream = stream
    this.parts = parts
    this.outbox = new Outbox(stream)
    this.budget = new Budget(parts.limits().budgetBytes)
    this.#frames = new FrameReader(this.#onFrame)
    stream.onData = (data, start, end) => this.#receive(data, start, end)
    stream.onEnd = () => {
      this.#peerEnded = true
      if (this.#frames.open) this.#violated(malformed('the stream ended inside a frame'))
      else this.#endWhenIdle()
    }
    stream.onError = (error) => this.reset(error)
    stream.onClose = () => this.#gone(new KithError('LINK_LOST'))
    this.outbox.onRoom = () => {
      this.#giveBack()
      for (const call of this.#calls.all()) call.onReady()
    }
  }

  get callee(): Callee {
    return this.parts.callee
  }

  callerOf(statement: Uint8Array | undefined): Caller | undefined | Promise<Caller | undefined> {
    return this.parts.callerOf(statement)
  }

  get calls(): number {
    return this.#calls.size
  }

  /** Ends the stream and every call on it. */
  reset(error: KithError): void {
    if (this.#over) return
    this.#stream.reset(error.number)
    this.#gone(error)
  }

  /** Whether a call may begin now; it is asked again when another ended. */
  enter(call: ServerCall): boolean {
    if (this.#over) return false
    const limits = this.parts.limits()
    if (this.#running < limits.calls) {
      this.#running++
      this.parts.onCount(1)
      return true
    }
    if (this.#queue.length >= limits.waiting || this.#queuedBytes + call.bytes > limits.waitingBytes) {
      call.refuse(new KithError('BUDGET_EXCEEDED', 'too many calls at once', { details: { limit: limits.calls } }))
      return false
    }
    this.#queue.push(call)
    this.#queuedBytes += call.bytes
    return false
  }

  /** The callee is done with a call that had begun. */
  leave(): void {
    this.#running--
    this.parts.onCount(-1)
    while (this.#queue.length > 0 && this.#running < this.parts.limits().calls && !this.#over) {
      const next = this.#queue.shift() as ServerCall
      this.#queuedBytes -= next.bytes
      if (this.#calls.get(next.call) === next && this.enter(next)) next.begin()
    }
    this.#endWhenIdle()
  }

  /** Everything was said about a call. */
  forget(call: ServerCall): void {
    this.#calls.delete(call)
    this.#endWhenIdle()
  }

  #receive(data: Buffer, start: number, end: number): void {
    this.#owed += end - start
    if (!this.#over) {
      try {
        this.#frames.push(data, start, end)
      } catch (error) {
        this.#violated(asKithError(error, 'INTERNAL'))
      }
    }
    this.#giveBack()
  }

  /** A peer that does not read what it is told is not listened to. */
  #giveBack(): void {
    if (this.#owed === 0 || (this.outbox.full && !this.#over)) return
    const owed = this.#owed
    this.#owed = 0
    this.#stream.consume(owed)
  }

  readonly #onFrame = (kind: number, id: number, data: Buffer, at: number, end: number): void => {
    if (this.#over) return
    const cursor = this.#cursor.set(data, at, end)
    if (kind === KIND_REQUEST) {
      if (id <= this.#last) throw violation('a number used twice')
      this.#last = id
      this.#request(id, cursor)
      return
    }
    if (id > this.#last) throw violation('a call that was never begun')
    const call = this.#calls.get(id)
    switch (kind) {
      case KIND_ITEM:
      case KIND_END:
        this.#input(call, kind, cursor)
        break
      case KIND_CHUNK: {
        const more = cursor.u8()
        call?.chunk(more, data, cursor.at, end)
        break
      }
      case KIND_CANCEL: {
        const reason = cursor.u8()
        if (reason > 1 || cursor.at !== end) throw malformed('form of a cancellation')
        call?.refuse(new KithError(reason === 1 ? 'CALL_TIMEOUT' : 'ABORTED'))
        break
      }
      case KIND_CREDIT: {
        const bytes = cursor.u32()
        if (cursor.at !== end) throw malformed('form of credit')
        call?.grant(bytes)
        break
      }
      default:
        throw malformed('kind of frame', { kind })
    }
  }

  #request(id: number, cursor: Cursor): void {
    const head = readRequest(cursor)
    const call = new ServerCall(this, id, head)
    const { data, end } = cursor
    const refusal = this.parts.refusal()
    if (refusal !== undefined) {
      call.refuse(refusal)
      return
    }
    this.#calls.add(call)
    const limit = this.parts.limits().payloadBytes
    if (head.total > limit) call.refuse(tooLarge(head.total, limit))
    else call.first(head, data, head.at, end)
  }

  #input(call: ServerCall | undefined, kind: number, cursor: Cursor): void {
    const form = cursor.u8()
    if (form > 7) throw malformed('form of a payload', { form })
    const total = readTotal(cursor, form)
    if (kind === KIND_END && (form !== 0 || cursor.at !== cursor.end)) throw malformed('a value with the end of the inputs')
    if (call === undefined) return
    if (kind === KIND_END) call.endInputs()
    else call.takeInput(form, total, cursor.data, cursor.at, cursor.end, this.parts.limits().payloadBytes)
  }

  #violated(error: KithError): void {
    if (this.#over) return
    this.parts.onViolation(error)
    this.reset(error)
  }

  #endWhenIdle(): void {
    if (!this.#peerEnded || this.#over || this.#calls.size > 0 || this.#running > 0) return
    this.#over = true
    this.outbox.end()
    this.parts.onClose()
  }

  #gone(error: KithError): void {
    if (this.#over) return
    this.#over = true
    this.outbox.drop()
    this.#queue.length = 0
    const calls = this.#calls.all()
    this.#calls.clear()
    for (const call of calls) call.lost(error)
    this.#giveBack()
    this.parts.onClose()
  }
}
