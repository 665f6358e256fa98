import type { Duplex } from 'node:stream'
import type { PublicKey } from '../core/bytes.ts'
import { KithError } from '../core/errors.ts'
import type { BytePipe } from '../core/pipe.ts'
import { duplexView } from './duplex-view.ts'
import { Inbox } from './inbox.ts'
import { RecordPipe } from './record-pipe.ts'
import type { Session } from './session.ts'
import { SummaryLabel } from './transcript.ts'

/** Messages are opened ahead of their reader up to here; beyond, the other side feels it. */
const READ_AHEAD_BYTES = 262_144
const CHANNEL_BINDING = new SummaryLabel('fork', 'icn/channel-binding/v1')
const SENT: Promise<void> = Promise.resolve()

/**
 * An encrypted, authenticated stream of messages between two static keys. Each message is one frame on the wire; everything sent in one turn of the event loop
 * leaves as one write.
 *
 * The message face (`send`, `receive`, iteration), `asDuplex` and `toPipe` are three views of one stream: taking one of the latter two hands the stream over,
 * with everything that has arrived and was not received yet, and ends the message face.
 */
export class EncryptedStream implements AsyncIterable<Uint8Array>, AsyncDisposable {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  /** The other side's static key: proved, not claimed. */
  readonly remoteKey: PublicKey
  /** Largest message, in bytes, both ways. */
  readonly maxMessageBytes: number
  readonly #session: Session
  readonly #inbox: Inbox = new Inbox()
  #drained: PromiseWithResolvers<void> | undefined
  #binding: Uint8Array | undefined
  #taken = false
  #ended = false

  /** Made by `dial` and `listen`. */
  constructor(session: Session) {
    this.#session = session
    this.role = session.role
    this.localKey = session.localKey
    this.remoteKey = session.remoteKey
    this.maxMessageBytes = session.maxMessageBytes
    session.onRecord = (buffer, start, end) => {
      this.#inbox.push(Buffer.from(buffer.subarray(start, end)))
      return this.#inbox.bytes < READ_AHEAD_BYTES
    }
    session.onEnd = () => this.#inbox.end(null)
    session.onClose = (error) => {
      this.#inbox.end(error)
      this.#settleDrain(error)
    }
    session.sender.onDrain = () => this.#settleDrain(null)
  }

  /** Resolves when the connection is gone, in whatever way. Never rejects. */
  get closed(): Promise<void> {
    return this.#session.closed
  }

  /** 32 bytes that only the two ends of this very stream share: for binding other protocols to it. */
  get channelBinding(): Uint8Array {
    this.#binding ??= this.#session.derive(CHANNEL_BINDING)
    return Uint8Array.from(this.#binding)
  }

  /**
   * Sends one message. Sealed before it returns, so the memory may be reused at once; resolves when the stream takes more without growing its queue.
   * A promise that is not awaited does no harm.
   * @throws KithError `MESSAGE_TOO_LARGE` (the stream stays usable), `CLOSED`, or what ended the stream.
   */
  send(message: Uint8Array): Promise<void> {
    const refusal = this.#refusal(message)
    if (refusal !== undefined) return rejected(refusal)
    this.#session.sender.message(message)
    return this.#ready()
  }

  /** Sends messages in order, all or none: a message that is refused is refused before the first one is sealed. Otherwise like `send`. */
  sendMany(messages: Iterable<Uint8Array>): Promise<void> {
    const all = [...messages]
    for (const message of all) {
      const refusal = this.#refusal(message)
      if (refusal !== undefined) return rejected(refusal)
    }
    for (const message of all) this.#session.sender.message(message)
    return this.#ready()
  }

  /**
   * The next message, or `undefined` after the other side ended or `close` was called.
   * @throws KithError `STREAM_CORRUPT`, `FRAME_TOO_LARGE`, `LINK_LOST`; the signal's reason, in which case nothing is lost.
   */
  receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array | undefined> {
    if (this.#taken) return rejected(new TypeError('the stream was handed over'))
    const message = this.#inbox.take(options.signal)
    if (this.#inbox.bytes < READ_AHEAD_BYTES) this.#session.resume()
    return message
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let message = await this.receive(); message !== undefined; message = await this.receive()) yield message
  }

  /** A `Duplex` of bytes: what is written leaves in messages as large as allowed, boundaries are lost. Ends the message face. */
  asDuplex(): Duplex {
    return duplexView(this.#take())
  }

  /** The lean pipe of bytes that a multiplexer stands on. Ends the message face. */
  toPipe(): BytePipe {
    return new RecordPipe(this.#take())
  }

  /** Sends no more; what the other side sends is still received, if the duplex allows one half to end. */
  end(): void {
    this.#ended = true
    this.#session.end()
  }

  /** What was sent leaves, then the connection ends, within a second. Resolves when it is gone; never rejects. Idempotent. */
  close(): Promise<void> {
    this.#inbox.end(null)
    this.#session.close()
    return this.#session.closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Takes the stream over. Not part of the public face: rooms above use `asDuplex`, `toPipe` and the post-quantum step. */
  static session(stream: EncryptedStream): Session {
    return stream.#take()
  }

  #take(): Session {
    if (this.#taken) throw new TypeError('the stream was handed over before')
    if (this.#inbox.wanted) throw new TypeError('somebody still waits for a message of this stream')
    this.#taken = true
    const session = this.#session
    session.hold()
    session.putBack(this.#inbox.drain())
    this.#settleDrain(null)
    return session
  }

  #refusal(message: Uint8Array): Error | undefined {
    if (!(message instanceof Uint8Array)) return new TypeError('a message is a Uint8Array')
    if (this.#taken) return new TypeError('the stream was handed over')
    if (this.#session.outcome instanceof KithError) return this.#session.outcome
    if (this.#ended || this.#session.finished) return new KithError('CLOSED')
    if (message.length <= this.maxMessageBytes) return undefined
    return new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length: message.length, limit: this.maxMessageBytes } })
  }

  #ready(): Promise<void> {
    if (!this.#session.sender.blocked) return SENT
    if (this.#drained === undefined) {
      this.#drained = Promise.withResolvers()
      this.#drained.promise.catch(() => undefined)
    }
    return this.#drained.promise
  }

  #settleDrain(error: KithError | null): void {
    const drained = this.#drained
    this.#drained = undefined
    if (error === null) drained?.resolve()
    else drained?.reject(error)
  }
}

/** Rejected, but harmless when nobody looks. */
function rejected<T>(reason: unknown): Promise<T> {
  const promise = Promise.reject<T>(reason)
  promise.catch(() => undefined)
  return promise
}
