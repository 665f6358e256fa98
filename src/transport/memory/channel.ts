import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { MessageWaiter } from '../message-waiter.ts'
import { type ConnectionInfo, multiplex } from '../mux/connection.ts'
import type { Channel, ChannelBinding, Connection, MultiplexOptions } from '../types.ts'
import { WirePipe } from './pipe.ts'
import type { WireEnd } from './wire.ts'

export const MAX_MESSAGE_BYTES: number = 64 * 1024

/** A channel whose ends the network vouches for: nothing is encrypted, one parcel is one message. */
export class WireChannel implements Channel {
  readonly role: ConnectionInfo['role']
  readonly localKey: ConnectionInfo['localKey']
  readonly remoteKey: ConnectionInfo['remoteKey']
  readonly path: ConnectionInfo['path']
  readonly postQuantum: boolean

  readonly #wire: WireEnd
  readonly #info: ConnectionInfo
  readonly #clock: Clock
  readonly #binding: ChannelBinding
  #received = false
  readonly #waiter: MessageWaiter
  #over: KithError | undefined

  constructor(wire: WireEnd, info: ConnectionInfo, binding: Uint8Array, clock: Clock) {
    this.role = info.role
    this.localKey = info.localKey
    this.remoteKey = info.remoteKey
    this.path = info.path
    this.postQuantum = info.postQuantum
    this.#wire = wire
    this.#waiter = new MessageWaiter(() => wire.pause())
    this.#info = info
    this.#clock = clock
    this.#binding = { kind: 'memory', bytes: binding }
    wire.onParcel = (bytes) => this.#message(bytes)
    wire.onEnd = (error) => this.#fail(error ?? new KithError('LINK_LOST', 'The other side ended the channel.'))
  }

  get channelBinding(): ChannelBinding {
    if (!this.#received) throw new TypeError('the channel binding is known once the first message was received')
    return this.#binding
  }

  send(message: Uint8Array): void {
    if (message.length > MAX_MESSAGE_BYTES) throw new KithError('MESSAGE_TOO_LARGE')
    if (this.#over !== undefined) throw new KithError('CLOSED', undefined, { cause: this.#over })
    this.#wire.send(Buffer.from(message))
  }

  receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    return this.#waiter.wait(options, this.#over, () => this.#wire.resume())
  }

  multiplex(options: MultiplexOptions = {}): Connection {
    if (this.#over !== undefined) throw new KithError('CLOSED', undefined, { cause: this.#over })
    if (this.#waiter.waiting) throw new TypeError('a receive is pending')
    this.#over = new KithError('CLOSED', 'The channel has become a connection.')
    return multiplex(new WirePipe(this.#wire), this.#info, this.#clock, options)
  }

  close(): void {
    if (this.#over !== undefined) return
    this.#wire.end()
    this.#fail(new KithError('CLOSED'))
    this.#wire.resume()
  }

  #message(bytes: Buffer): void {
    this.#received = true
    this.#waiter.resolve(bytes)
  }

  #fail(error: KithError): void {
    this.#over ??= error
    this.#waiter.reject(error)
  }
}
