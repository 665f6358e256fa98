import type { ErrorForm } from './errors.ts'
import {
  FORM_CHUNKED,
  FORM_EVENT,
  HEAD_BYTES,
  INITIAL_CREDIT,
  KIND_CHUNK,
  KIND_END,
  KIND_ERROR,
  KIND_ITEM,
  KIND_REQUEST,
  MAX_CREDIT,
  PIECE_BYTES,
  type RequestFields,
  requestBytes,
  violation,
  writeAscii,
  writeRequest,
  writeU32,
} from './frames.ts'
import type { Outbox, Talker } from './outbox.ts'
import { type Encoding, encodePayload, FORM_BYTES, FORM_JSON, FORM_NONE, formOf, jsonText, type Payload, Undecoded } from './payload.ts'

/** A message that waits for credit or for its turn. */
interface Message {
  readonly kind: number
  /** What stands before the payload, the form as if it went in one frame. */
  readonly prefix: Buffer
  /** Where the form stands in it. */
  readonly formAt: number
  readonly payload: Uint8Array
  sent: number
}

const FIRST_PIECE_BYTES = 4_096
const HEADROOM = 4 + HEAD_BYTES + 8
const MAX_DETAILS = 16 * 1024
const MAX_MESSAGE_BYTES = 4_096

/** What one side says of one call: small messages at once into the frame buffer, long ones in pieces as credit and the other calls allow. */
export class Sending implements Talker {
  readonly call: number
  readonly outbox: Outbox
  /** Bytes of payload that the other side takes. */
  credit: number = INITIAL_CREDIT
  #waiting: Message[] | undefined
  #joined = false

  constructor(outbox: Outbox, call: number) {
    this.outbox = outbox
    this.call = call
  }

  /** Whether the next message would go at once. */
  get ready(): boolean {
    return this.#waiting === undefined && this.credit > 0 && !this.outbox.full
  }

  /** Whether everything was said. */
  get said(): boolean {
    return this.#waiting === undefined
  }

  /** Told when what waited has gone, or credit came: `ready` may hold again. */
  onReady(): void {
    // Nobody waits.
  }

  /** @throws TypeError for an input without that encoding. */
  request(fields: RequestFields, input: unknown, encoding: Encoding): void {
    const { outbox } = this
    const form = fields.inputs ? FORM_NONE : formOf(input, encoding)
    const bytes = form !== FORM_NONE && input instanceof Undecoded ? input.bytes : undefined
    const text = form === FORM_JSON && bytes === undefined ? jsonText(input) : undefined
    const most = bytes?.length ?? 3 * (text?.length ?? 0)
    if (form === FORM_NONE || ((bytes ?? text) !== undefined && most <= PIECE_BYTES)) {
      outbox.reserve(HEADROOM + requestBytes(fields) + most)
      const start = outbox.open(KIND_REQUEST, this.call)
      outbox.at = writeRequest(outbox.buffer, outbox.at, fields, form)
      if (bytes !== undefined) this.#bytes(bytes)
      else if (text !== undefined) this.#text(text)
      outbox.close(start)
      return
    }
    const prefix = Buffer.alloc(requestBytes(fields))
    const payload = text === undefined ? encodePayload(input, encoding) : asPayload(text)
    const message: Message = {
      kind: KIND_REQUEST,
      prefix: prefix.subarray(0, writeRequest(prefix, 0, fields, payload.form)),
      formAt: 1,
      payload: payload.bytes,
      sent: 0,
    }
    // Requests leave in the order of their numbers, so the first piece of a long one does not wait for its turn.
    const { length } = payload.bytes
    this.#piece(message, length <= PIECE_BYTES ? length : FIRST_PIECE_BYTES)
    if (message.sent < length) this.#wait(message)
  }

  /** One of a stream. @throws TypeError for a value without that encoding. */
  item(value: unknown, encoding: Encoding, id?: string): void {
    this.#say(KIND_ITEM, value, encoding, id)
  }

  /** The answer, or the end of a stream. @throws TypeError for a value without that encoding. */
  end(value: unknown, encoding: Encoding): void {
    this.#say(KIND_END, value, encoding, undefined)
  }

  /** Ends the call: what still waited is not said. */
  error({ code, message, details }: ErrorForm): void {
    const { outbox } = this
    this.clear()
    const text = Buffer.from(message).subarray(0, MAX_MESSAGE_BYTES)
    let json: string | undefined
    try {
      json = details === undefined ? undefined : jsonText(details)
    } catch {
      json = undefined
    }
    if (json !== undefined && json.length > MAX_DETAILS) json = undefined
    outbox.reserve(HEADROOM + code.length + text.length + 3 * (json?.length ?? 0))
    const start = outbox.open(KIND_ERROR, this.call)
    const { buffer } = outbox
    buffer[outbox.at] = json === undefined ? FORM_NONE : FORM_JSON
    let at = writeAscii(buffer, outbox.at + 1, code)
    buffer[at] = text.length >>> 8
    buffer[at + 1] = text.length & 0xff
    at += 2 + text.copy(buffer, at + 2)
    outbox.at = at
    if (json !== undefined) outbox.at += buffer.write(json, at, 'utf8')
    outbox.close(start)
  }

  /** @throws KithError `WIRE_MALFORMED` for more than can ever be asked for. */
  grant(bytes: number): void {
    this.credit += bytes
    if (bytes === 0 || this.credit > MAX_CREDIT) throw violation('credit out of range')
    if (this.#waiting === undefined) this.onReady()
    else this.#join()
  }

  clear(): void {
    this.#waiting = undefined
  }

  /** One frame of what waits. */
  talk(): boolean {
    this.#joined = false
    const message = this.#waiting?.[0]
    if (message === undefined) return false
    const left = message.payload.length - message.sent
    // A message of one piece goes whole, so that small ones cost one frame.
    if (this.credit === 0 || (message.payload.length <= PIECE_BYTES && this.credit < left)) return false
    this.#piece(message, Math.min(left, PIECE_BYTES, this.credit))
    if (message.sent === message.payload.length) {
      this.#waiting?.shift()
      if (this.#waiting?.length === 0) {
        this.#waiting = undefined
        this.onReady()
        return false
      }
    }
    this.#joined = true
    return true
  }

  #say(kind: number, value: unknown, encoding: Encoding, id: string | undefined): void {
    const { outbox } = this
    const form = formOf(value, encoding)
    if (this.#waiting === undefined) {
      const bytes = form === FORM_BYTES && value instanceof Uint8Array ? value : value instanceof Undecoded ? value.bytes : undefined
      if (form === FORM_JSON && bytes === undefined) {
        const text = jsonText(value)
        if (3 * text.length <= PIECE_BYTES && 3 * text.length <= this.credit) {
          const start = this.#begin(kind, form, id, 3 * text.length)
          this.credit -= this.#text(text)
          outbox.close(start)
          return
        }
        this.#queue(kind, asPayload(text), id)
        return
      }
      if (form === FORM_NONE || (bytes !== undefined && bytes.length <= Math.min(PIECE_BYTES, this.credit))) {
        const start = this.#begin(kind, form, id, bytes?.length ?? 0)
        if (bytes !== undefined) this.credit -= this.#bytes(bytes)
        outbox.close(start)
        return
      }
    }
    this.#queue(kind, encodePayload(value, encoding), id)
  }

  #queue(kind: number, payload: Payload, id: string | undefined): void {
    const prefix = Buffer.alloc(id === undefined ? 1 : 2 + id.length)
    prefix[0] = payload.form | (id === undefined ? 0 : FORM_EVENT)
    if (id !== undefined) writeAscii(prefix, 1, id)
    this.#wait({ kind, prefix, formAt: 0, payload: payload.bytes, sent: 0 })
  }

  #begin(kind: number, form: number, id: string | undefined, bytes: number): number {
    const { outbox } = this
    outbox.reserve(HEADROOM + (id?.length ?? 0) + bytes)
    const start = outbox.open(kind, this.call)
    outbox.buffer[outbox.at++] = id === undefined ? form : form | FORM_EVENT
    if (id !== undefined) outbox.at = writeAscii(outbox.buffer, outbox.at, id)
    return start
  }

  #text(text: string): number {
    const { outbox } = this
    const length = outbox.buffer.write(text, outbox.at, 'utf8')
    outbox.at += length
    return length
  }

  #bytes(bytes: Uint8Array): number {
    const { outbox } = this
    outbox.buffer.set(bytes, outbox.at)
    outbox.at += bytes.length
    return bytes.length
  }

  #wait(message: Message): void {
    this.#waiting ??= []
    this.#waiting.push(message)
    this.#join()
  }

  #join(): void {
    if (this.#joined) return
    this.#joined = true
    this.outbox.join(this)
  }

  #piece(message: Message, length: number): void {
    const { outbox } = this
    const first = message.sent === 0
    const chunked = message.payload.length > PIECE_BYTES || length < message.payload.length
    outbox.reserve(HEADROOM + (first ? message.prefix.length + 4 : 1) + length)
    const start = outbox.open(first ? message.kind : KIND_CHUNK, this.call)
    if (first) {
      outbox.buffer.set(message.prefix, outbox.at)
      if (chunked) outbox.buffer[outbox.at + message.formAt] = (message.prefix[message.formAt] as number) | FORM_CHUNKED
      outbox.at += message.prefix.length
      if (chunked) outbox.at = writeU32(outbox.buffer, outbox.at, message.payload.length)
    } else outbox.buffer[outbox.at++] = message.sent + length < message.payload.length ? 1 : 0
    outbox.buffer.set(message.payload.subarray(message.sent, message.sent + length), outbox.at)
    outbox.at += length
    message.sent += length
    this.credit -= length
    outbox.close(start)
  }
}

function asPayload(text: string): Payload {
  return { form: FORM_JSON, bytes: Buffer.from(text, 'utf8') }
}
