import { bytesN, decode, encode, list, malformed, text, u32, varintSize, Writer } from '../core/codec.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'

/**
 * # Control stream of a link, protocol `icn/link/1` (PN-8)
 *
 * One per connection, opened by its dialer right after the verdict, used by both sides, never ended while the connection lives.
 *
 * ```text
 * message   = varint length (1..4096) || u8 type || body
 * SELECT    = 01 || bytes8 id        leader: new streams go on this connection
 * PREFER    = 02 || bytes8 id        follower: a hint, no more
 * RETIRE    = 03 || u32 opened       sender opens no more streams here; it opened this many
 * EMPTY     = 04                     everything the other side opened has arrived, and every stream has ended here
 * ADDRESSES = 05 || list<url>        where the sender listens; told to peers in its address book only
 * ```
 *
 * The count in RETIRE is what makes a drain lossless on transports whose streams overtake each other: a connection is closed when both sides
 * have said EMPTY. Unknown types are skipped, so that later versions may add some.
 */
export const LINK_PROTOCOL = 'icn/link/1'

export type ControlMessage =
  | { readonly type: 'select' | 'prefer'; readonly id: Uint8Array }
  | { readonly type: 'retire'; readonly opened: number }
  | { readonly type: 'empty' }
  | { readonly type: 'addresses'; readonly urls: readonly string[] }

export const MAX_TOLD_ADDRESSES = 8
const MAX_MESSAGE = 4_096
/** A correct peer sends a handful per connection; one that sends without end is cut off. */
const MAX_MESSAGES = 1_000

const TYPES = { select: 1, prefer: 2, retire: 3, empty: 4, addresses: 5 } as const
const idCodec = bytesN(8)
const urlsCodec = list(text(256), MAX_TOLD_ADDRESSES)

export function encodeControl(message: ControlMessage): Uint8Array {
  const body = encodeBody(message)
  const writer = new Writer(varintSize(1 + body.length) + 1 + body.length)
  writer.varint(1 + body.length)
  writer.u8(TYPES[message.type])
  writer.raw(body)
  return writer.bytes
}

function encodeBody(message: ControlMessage): Uint8Array {
  switch (message.type) {
    case 'select':
    case 'prefer':
      return encode(idCodec, message.id)
    case 'retire':
      return encode(u32, message.opened)
    case 'empty':
      return new Uint8Array(0)
    case 'addresses':
      return encode(urlsCodec, message.urls)
  }
}

/** `undefined` for a type of a later version. @throws KithError `WIRE_MALFORMED`. */
export function decodeControl(message: Uint8Array): ControlMessage | undefined {
  const body = message.subarray(1)
  switch (message[0]) {
    case TYPES.select:
      return { type: 'select', id: decode(idCodec, body) }
    case TYPES.prefer:
      return { type: 'prefer', id: decode(idCodec, body) }
    case TYPES.retire:
      return { type: 'retire', opened: decode(u32, body) }
    case TYPES.empty:
      if (body.length > 0) throw malformed('EMPTY has a body')
      return { type: 'empty' }
    case TYPES.addresses:
      return { type: 'addresses', urls: decode(urlsCodec, body) }
    default:
      return undefined
  }
}

/** Cuts a byte stream into messages; keeps at most one incomplete message. */
export class ControlReader {
  #pending: Buffer = Buffer.alloc(0)
  #count = 0

  /** Gives each whole message to `take`. @throws KithError `WIRE_MALFORMED`, `BUDGET_EXCEEDED`. */
  push(data: Uint8Array, take: (message: ControlMessage) => void): void {
    this.#pending = Buffer.concat([this.#pending, data])
    for (let frame = this.#take(); frame !== undefined; frame = this.#take()) {
      if (++this.#count > MAX_MESSAGES) throw new KithError('BUDGET_EXCEEDED', 'too many control messages on one link')
      const message = decodeControl(frame)
      if (message !== undefined) take(message)
    }
  }

  #take(): Uint8Array | undefined {
    const first = this.#pending[0]
    if (first === undefined) return undefined
    const second = this.#pending[1]
    if (first >= 0x80 && second === undefined) return undefined
    if (first >= 0x80 && (second === 0 || (second as number) >= 0x80)) throw malformed('length of a control message')
    const size = first < 0x80 ? 1 : 2
    const length = size === 1 ? first : (first & 0x7f) | ((second as number) << 7)
    if (length === 0 || length > MAX_MESSAGE) throw malformed('length of a control message', { length })
    if (this.#pending.length < size + length) return undefined
    const frame = this.#pending.subarray(size, size + length)
    this.#pending = this.#pending.subarray(size + length)
    return frame
  }
}

/** Our end of the control stream: keeps what is sent before the stream is there. */
export class LinkControl {
  #stream: LinkStream | undefined
  #waiting: Uint8Array[] = []
  #gone = false
  readonly #reader: ControlReader = new ControlReader()
  readonly #onMessage: (message: ControlMessage) => void
  readonly #onBroken: (error: KithError, by: 'message' | 'stream') => void

  /** `onBroken`: once, for a message that is none or too many of them, or for the end of the stream. */
  constructor(onMessage: (message: ControlMessage) => void, onBroken: (error: KithError, by: 'message' | 'stream') => void) {
    this.#onMessage = onMessage
    this.#onBroken = onBroken
  }

  get attached(): boolean {
    return this.#stream !== undefined
  }

  /** Takes over the stream, its header already read or written. */
  attach(stream: LinkStream): void {
    this.#stream = stream
    stream.onData = (data, start, end) => {
      stream.consume(end - start)
      this.#receive(data.subarray(start, end))
    }
    const ended = (error: KithError): void => {
      if (this.#gone) return
      this.#gone = true
      this.#onBroken(error, 'stream')
    }
    stream.onEnd = () => ended(new KithError('MUX_PROTOCOL', 'the peer ended the control stream of the link'))
    stream.onError = (error) => ended(error)
    for (const bytes of this.#waiting) stream.write(bytes)
    this.#waiting = []
  }

  send(message: ControlMessage): void {
    if (this.#gone) return
    const bytes = encodeControl(message)
    if (this.#stream !== undefined) this.#stream.write(bytes)
    else if (this.#waiting.length < 32) this.#waiting.push(bytes)
  }

  #receive(data: Uint8Array): void {
    if (this.#gone) return
    try {
      this.#reader.push(data, this.#onMessage)
    } catch (error) {
      this.#gone = true
      this.#onBroken(asKithError(error, 'INTERNAL'), 'message')
    }
  }
}
