import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Taken } from './wire.ts'

/** Reads the first messages of a client, message by message, with one deadline for all of them. What is behind them is given back. */
export class ClientHead {
  readonly #socket: Socket
  readonly #timer: Timer
  #held: Buffer = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #ended: KithError | undefined
  #released = false
  readonly #onData = (data: Buffer): void => {
    this.#held = this.#held.length === 0 ? data : Buffer.concat([this.#held, data])
    this.#socket.pause()
    this.#wake?.()
  }
  readonly #onEnd = (): void => this.#end(new KithError('CLOSED'))

  constructor(socket: Socket, clock: Clock, timeoutMs: number) {
    this.#socket = socket
    this.#timer = clock.after(timeoutMs, () => this.#end(new KithError('TIMEOUT')))
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onEnd)
    socket.pause()
  }

  /** @throws KithError `TIMEOUT`, `CLOSED`, and what `take` throws; `WIRE_MALFORMED` when `maxBytes` hold no message. */
  async next<T>(take: (bytes: Buffer) => Taken<T> | undefined, maxBytes: number): Promise<T> {
    for (;;) {
      const taken = take(this.#held)
      if (taken !== undefined) {
        this.#held = this.#held.subarray(taken.rest)
        return taken.value
      }
      if (this.#ended !== undefined) throw this.#ended
      if (this.#held.length >= maxBytes) throw new KithError('WIRE_MALFORMED')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        this.#socket.resume()
      })
      this.#wake = undefined
    }
  }

  /** Nothing more is expected: what has arrived behind the last message, and whatever follows, belongs to the connection that was asked for. */
  release(): Buffer {
    if (this.#released) return Buffer.alloc(0)
    this.#released = true
    this.#timer.cancel()
    const socket = this.#socket
    socket.off('data', this.#onData)
    socket.off('end', this.#onEnd)
    socket.off('close', this.#onEnd)
    socket.pause()
    const behind = this.#held
    this.#held = Buffer.alloc(0)
    return behind
  }

  #end(error: KithError): void {
    this.#ended ??= error
    this.#wake?.()
  }
}
