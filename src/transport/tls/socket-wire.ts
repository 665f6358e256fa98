import type { Socket } from 'node:net'
import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'

/** How long a closing side waits for what was sent to leave and for the other side's end. */
const LINGER_MS = 1_000

/** The bytes of a connection, usually a TLS one, and its end, for one owner at a time. Paused until `resume`. */
export class SocketWire {
  onData: (chunk: Buffer) => void = () => {}
  /** The other side ended; everything it sent was handed out. */
  onEnd: () => void = () => {}
  /** The connection is gone: null when this side had finished. Exactly once. */
  onClose: (error: KithError | null) => void = () => {}
  readonly #socket: Socket
  readonly #clock: Clock
  #linger: Timer | undefined
  #cause: KithError | undefined
  #finishing = false
  #ended = false
  #closed = false

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket
    this.#clock = clock
    socket.pause()
    socket.on('error', (error) => {
      this.#cause ??= new KithError('LINK_LOST', undefined, { cause: error })
    })
    socket.on('data', (chunk: Buffer) => this.onData(chunk))
    socket.on('end', () => {
      this.#ended = true
      this.onEnd()
    })
    socket.on('close', () => this.#gone())
    if (socket.destroyed) queueMicrotask(() => this.#gone())
  }

  /** The other side has ended. */
  get ended(): boolean {
    return this.#ended
  }

  get closed(): boolean {
    return this.#closed
  }

  /** What it is that ended the connection. */
  get outcome(): KithError | null {
    return this.#finishing ? null : (this.#cause ?? new KithError('LINK_LOST'))
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** `sent` runs when the bytes have been given to the kernel, or never will. The memory belongs to the connection from now on. */
  write(bytes: Buffer, sent?: () => void): void {
    if (this.#finishing || this.#closed) return
    this.#socket.write(bytes, sent)
  }

  /** Writes up to the end of this turn leave together. */
  cork(): void {
    this.#socket.cork()
    process.nextTick(() => this.#socket.uncork())
  }

  /** What was written leaves, then the connection ends, within a second. Idempotent. */
  finish(): void {
    if (this.#finishing || this.#closed) return
    this.#finishing = true
    this.onData = () => {}
    this.#linger = this.#clock.after(LINGER_MS, () => this.#socket.destroy())
    this.#socket.end(() => {
      if (this.#ended) this.#socket.destroy()
    })
    this.onEnd = () => {
      if (this.#socket.writableFinished) this.#socket.destroy()
    }
    this.#socket.resume()
  }

  destroy(error: KithError): void {
    this.#cause ??= error
    this.#socket.destroy()
  }

  #gone(): void {
    if (this.#closed) return
    this.#closed = true
    this.#linger?.cancel()
    this.onClose(this.outcome)
  }
}
