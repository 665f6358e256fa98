import type { PublicKey } from '../../src/core/bytes.ts'
import { KithError } from '../../src/core/errors.ts'
import type { Channel, ChannelBinding, Connection, Path } from '../../src/transport/types.ts'

export type Direction = 'to-listener' | 'to-dialer'

/** The man in the middle: what arrives instead of a message. Called with the number of the message in its direction, from 0. */
export type Tap = (message: Uint8Array, direction: Direction, number: number) => readonly Uint8Array[]

export interface PairOptions {
  /** What each side's transport says it is, and whom it says it meets. */
  readonly dialer: { readonly localKey: PublicKey; readonly remoteKey: PublicKey; readonly binding?: ChannelBinding }
  readonly listener: { readonly localKey: PublicKey; readonly remoteKey: PublicKey; readonly binding?: ChannelBinding }
  readonly scheme?: string
  readonly postQuantum?: boolean
  readonly tap?: Tap
}

/** One side of a scripted channel: messages arrive as the other side, the tap or the test itself sends them. */
export class ScriptedChannel implements Channel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum: boolean
  readonly channelBinding: ChannelBinding
  /** Everything this side sent, in order. */
  readonly sent: Uint8Array[] = []
  /** Where sent messages go. */
  deliver: (message: Uint8Array) => void = () => {}
  /** Told once, when this side closes. */
  onClose: () => void = () => {}
  closed = false
  readonly #queue: Uint8Array[] = []
  #ended: KithError | undefined
  #wake: (() => void) | undefined

  constructor(options: {
    role: 'dialer' | 'listener'
    localKey: PublicKey
    remoteKey: PublicKey
    binding?: ChannelBinding
    scheme?: string
    postQuantum?: boolean
  }) {
    this.role = options.role
    this.localKey = options.localKey
    this.remoteKey = options.remoteKey
    this.channelBinding = options.binding ?? { kind: 'memory', bytes: new Uint8Array(32).fill(7) }
    this.postQuantum = options.postQuantum ?? false
    const scheme = options.scheme ?? 'memory'
    this.path = { scheme, address: `${scheme}://test`, direct: true }
  }

  send(message: Uint8Array): void {
    if (this.closed || this.#ended !== undefined) throw new KithError('CLOSED')
    const copy = Uint8Array.from(message)
    this.sent.push(copy)
    this.deliver(copy)
  }

  /** A message from outside. */
  push(message: Uint8Array): void {
    this.#queue.push(message)
    this.#wake?.()
  }

  /** The other side is gone; what it sent before still arrives. */
  end(error: KithError = new KithError('LINK_LOST')): void {
    this.#ended ??= error
    this.#wake?.()
  }

  async receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { signal } = options
    for (;;) {
      if (signal?.aborted === true) throw signal.reason
      const message = this.#queue.shift()
      if (message !== undefined) return message
      if (this.#ended !== undefined) throw this.#ended
      if (this.closed) throw new KithError('CLOSED')
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#wake = undefined
          signal?.removeEventListener('abort', wake)
          resolve()
        }
        this.#wake = wake
        signal?.addEventListener('abort', wake, { once: true })
      })
    }
  }

  multiplex(): Connection {
    throw new TypeError('a scripted channel ends with its greeting')
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.#wake?.()
    this.onClose()
  }
}

export interface ChannelPair {
  readonly dialer: ScriptedChannel
  readonly listener: ScriptedChannel
}

/** Two sides with a wire between them; the transport's authentication is whatever the options claim. */
export function createChannelPair(options: PairOptions): ChannelPair {
  const common = { scheme: options.scheme ?? 'memory', postQuantum: options.postQuantum ?? false }
  const dialer = new ScriptedChannel({ role: 'dialer', ...common, ...options.dialer })
  const listener = new ScriptedChannel({ role: 'listener', ...common, ...options.listener })
  const connect = (from: ScriptedChannel, to: ScriptedChannel, direction: Direction): void => {
    let number = 0
    from.deliver = (message): void => {
      for (const arrives of options.tap?.(message, direction, number) ?? [message]) to.push(arrives)
      number++
    }
    from.onClose = (): void => to.end()
  }
  connect(dialer, listener, 'to-listener')
  connect(listener, dialer, 'to-dialer')
  return { dialer, listener }
}
