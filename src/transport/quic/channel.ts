import type { PublicKey } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import type { Channel, ChannelBinding, Connection, MultiplexOptions, Path } from '../types.ts'
import { QuicConnection } from './connection.ts'
import type { FirstStream } from './first-stream.ts'
import { MESSAGE_BYTES } from './frames.ts'
import type { NativeConnection } from './native.ts'
import { nothing } from './nothing.ts'

/** An authenticated native connection and what belongs to it. */
export interface QuicLink {
  readonly native: NativeConnection
  readonly first: FirstStream
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The greeting is over, well or not. */
  readonly greeted: () => void
}

/** Messages kept for `receive`; more make the peer wait, and far more (many in one read) end the channel. */
const KEPT_MESSAGES = 16
const MOST_MESSAGES = 256
/** Bytes of datagrams that a peer may send before the greeting is over: the library would keep a whole window of every stream. */
const GREETING_BYTES = 1 << 20
const GREETING_CHECK_MS = 250
/** How long `close` waits for what was sent to arrive. */
const LINGER_MS = 1_000

/** The greeting over QUIC: frames on the dialer's first stream. Every other stream waits unread in the library until `multiplex`. */
export class QuicChannel implements Channel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum = false
  readonly #link: QuicLink
  readonly #messages: Uint8Array[] = []
  readonly #waiting: { resolve: (message: Uint8Array) => void; reject: (reason: unknown) => void }[] = []
  #received = false
  #error: KithError | undefined
  #state: 'open' | 'closing' | 'multiplexed' | 'ended' = 'open'
  #guard: Timer

  constructor(link: QuicLink) {
    this.#link = link
    this.role = link.role
    this.localKey = link.localKey
    this.remoteKey = link.remoteKey
    this.path = link.path
    const { first } = link
    first.onFrame = (payload) => this.#frame(payload)
    first.onEnd = () => this.#end(new KithError('LINK_LOST', 'the other side ended the greeting'))
    first.onError = (error) => this.#end(error.code === 'LINK_LOST' ? error : new KithError('STREAM_CORRUPT', undefined, { cause: error }))
    first.start()
    this.#guard = link.clock.after(GREETING_CHECK_MS, () => this.#check())
    link.native.closed().then(
      () => this.#end(new KithError('LINK_LOST')),
      () => this.#end(new KithError('LINK_LOST')),
    )
  }

  get channelBinding(): ChannelBinding {
    if (!this.#received) throw new TypeError('the channel binding is known once the first message has been received')
    return { kind: 'quic' }
  }

  send(message: Uint8Array): void {
    if (message.length > MESSAGE_BYTES) {
      throw new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length: message.length, limit: MESSAGE_BYTES } })
    }
    if (this.#state !== 'open') throw this.#error ?? new KithError('CLOSED')
    this.#link.first.send(message)
  }

  receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { signal } = options
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason)
      if (this.#state === 'multiplexed') return reject(new KithError('CLOSED'))
      const message = this.#messages.shift()
      if (message !== undefined) {
        this.#link.first.start()
        return resolve(message)
      }
      if (this.#state !== 'open') return reject(this.#error ?? new KithError('CLOSED'))
      const waiter = {
        resolve: (value: Uint8Array): void => {
          signal?.removeEventListener('abort', abort)
          resolve(value)
        },
        reject: (reason: unknown): void => {
          signal?.removeEventListener('abort', abort)
          reject(reason)
        },
      }
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        waiter.reject(signal?.reason)
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting.push(waiter)
    })
  }

  multiplex(options: MultiplexOptions = {}): Connection {
    if (this.#state === 'multiplexed') throw new TypeError('a channel is multiplexed once')
    if (this.#state !== 'open') throw this.#error ?? new KithError('CLOSED')
    this.#state = 'multiplexed'
    this.#leave(new KithError('CLOSED'))
    return new QuicConnection(this.#link, this.#messages.splice(0), options)
  }

  close(): void {
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#error = new KithError('CLOSED')
    this.#leave(this.#error)
    // The peer aborts the connection when it has read our end; `abort` here would throw away what is under way.
    const { first, clock, native } = this.#link
    const timer = clock.after(LINGER_MS, () => native.abort(), { keepAlive: true })
    native.closed().then(
      () => timer.cancel(),
      () => timer.cancel(),
    )
    first.onFrame = nothing
    first.onEnd = () => native.abort()
    first.onError = () => native.abort()
    first.finish()
    first.start()
  }

  /** Ends an unfinished greeting at once, without waiting for what was sent. */
  evict(): void {
    this.#end(new KithError('LINK_LOST'))
  }

  #frame(payload: Uint8Array): void {
    this.#received = true
    const waiter = this.#waiting.shift()
    if (waiter !== undefined) {
      waiter.resolve(payload)
      return
    }
    this.#messages.push(payload)
    if (this.#messages.length >= KEPT_MESSAGES) this.#link.first.pause()
    if (this.#messages.length > MOST_MESSAGES) this.#end(new KithError('STREAM_CORRUPT', 'too many messages before the greeting was over'))
  }

  /** The connection is of no more use; messages that came before are still handed out. */
  #end(error: KithError): void {
    if (this.#state !== 'open') return
    this.#state = 'ended'
    this.#error = error
    this.#leave(error)
    this.#link.native.abort()
  }

  #leave(error: KithError): void {
    this.#guard.cancel()
    this.#link.greeted()
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error)
  }

  #check(): void {
    if (this.#state !== 'open') return
    if (this.#link.native.stats().udpRxBytes > GREETING_BYTES) {
      this.#link.logger.debug('quic.greeting_flood', { address: this.path.address })
      this.#end(new KithError('STREAM_CORRUPT', 'too many bytes before the greeting was over'))
      return
    }
    this.#guard = this.#link.clock.after(GREETING_CHECK_MS, () => this.#check())
  }
}
