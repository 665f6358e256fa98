import type { PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { varintSize, Writer } from '../../core/codec.ts'
import { KithError } from '../../core/errors.ts'
import { MessageWaiter } from '../message-waiter.ts'
import { type ConnectionInfo, multiplex } from '../mux/connection.ts'
import type { Channel, ChannelBinding, Connection, MultiplexOptions, Path } from '../types.ts'
import { SocketPipe } from './socket-pipe.ts'
import type { SocketWire } from './socket-wire.ts'

/**
 * Messages over TLS until the multiplexer takes over (protocol.md, PN-5):
 *
 * ```text
 * varint length | message     0 to 65,536 bytes each, 32 KiB in all per side, lengths in their shortest form
 * ```
 */
const MAX_MESSAGE_BYTES = 65_536
const PREFACE_BYTES = 32_768

export class TlsChannel implements Channel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum: boolean
  readonly #wire: SocketWire
  readonly #binding: Uint8Array
  readonly #clock: Clock
  readonly #waiter: MessageWaiter
  #unread: Buffer = Buffer.alloc(0)
  #over: KithError | undefined
  #sent = 0
  #taken = 0
  #received = false

  /** `binding`: the connection's exporter. */
  constructor(wire: SocketWire, info: ConnectionInfo, binding: Uint8Array, clock: Clock) {
    this.role = info.role
    this.localKey = info.localKey
    this.remoteKey = info.remoteKey
    this.path = info.path
    this.postQuantum = info.postQuantum
    this.#wire = wire
    this.#waiter = new MessageWaiter(() => wire.pause())
    this.#binding = binding
    this.#clock = clock
    wire.onData = (chunk) => {
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
      this.#serve()
    }
    wire.onEnd = () => {
      this.#fail(new KithError('LINK_LOST', 'The other side ended the connection.'))
      wire.finish()
    }
    wire.onClose = (error) => this.#fail(error ?? new KithError('CLOSED'))
    if (wire.closed) this.#over = wire.outcome ?? new KithError('CLOSED')
  }

  get channelBinding(): ChannelBinding {
    if (!this.#received) throw new TypeError('the channel binding is known once the first message was received')
    return { kind: 'tls-exporter', bytes: this.#binding }
  }

  send(message: Uint8Array): void {
    if (message.length > MAX_MESSAGE_BYTES || this.#sent + message.length > PREFACE_BYTES) throw new KithError('MESSAGE_TOO_LARGE')
    if (this.#over !== undefined) throw new KithError('CLOSED', undefined, { cause: this.#over })
    this.#sent += message.length
    const frame = new Writer(varintSize(message.length) + message.length)
    frame.varint(message.length)
    frame.raw(message)
    this.#wire.cork()
    this.#wire.write(Buffer.from(frame.bytes.buffer))
  }

  receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    return this.#waiter.wait(options, undefined, () => this.#serve())
  }

  multiplex(options: MultiplexOptions = {}): Connection {
    if (this.#waiter.waiting) throw new TypeError('a receive is pending')
    if (this.#over !== undefined) throw new KithError('CLOSED', undefined, { cause: this.#over })
    this.#over = new KithError('CLOSED', 'The channel has become a connection.')
    const early = this.#unread
    this.#unread = Buffer.alloc(0)
    return multiplex(new SocketPipe(this.#wire, early), this, this.#clock, options)
  }

  close(): void {
    if (this.#over !== undefined) return
    this.#unread = Buffer.alloc(0)
    this.#fail(new KithError('CLOSED'))
    this.#wire.finish()
  }

  /** Gives the one who waits what is there, or asks the connection for more. */
  #serve(): void {
    if (!this.#waiter.waiting) {
      this.#wire.pause()
      return
    }
    const message = this.#nextMessage()
    if (message instanceof KithError) {
      this.#fail(message)
      this.#wire.destroy(message)
    } else if (message !== undefined) {
      this.#received = true
      this.#waiter.resolve(message)
    } else if (this.#over !== undefined) this.#waiter.reject(this.#over)
    else this.#wire.resume()
  }

  #nextMessage(): Uint8Array | KithError | undefined {
    const head = readLength(this.#unread)
    if (head === undefined) return undefined
    if (head === 'bad') return new KithError('STREAM_CORRUPT', 'The length of a message is not in its shortest form.')
    if (this.#taken + head.length > PREFACE_BYTES) return new KithError('FRAME_TOO_LARGE')
    const end = head.bytes + head.length
    if (this.#unread.length < end) return undefined
    const message = Uint8Array.from(this.#unread.subarray(head.bytes, end))
    this.#unread = this.#unread.subarray(end)
    this.#taken += head.length
    return message
  }

  #fail(error: KithError): void {
    this.#over ??= error
    if (!this.#waiter.waiting) return
    // What had arrived whole is still given.
    const message = this.#nextMessage()
    if (message instanceof Uint8Array) {
      this.#received = true
      this.#waiter.resolve(message)
    } else this.#waiter.reject(this.#over)
  }
}

/** The varint at the start; undefined while bytes are missing. Three bytes hold all lengths there are. */
function readLength(bytes: Uint8Array): { length: number; bytes: number } | 'bad' | undefined {
  let length = 0
  for (let at = 0; at < 3; at++) {
    const byte = bytes[at]
    if (byte === undefined) return undefined
    length |= (byte & 0x7f) << (7 * at)
    if (byte < 0x80) return at > 0 && byte === 0 ? 'bad' : { length, bytes: at + 1 }
  }
  return 'bad'
}
