import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../core/clock.ts'

const HEADER_BYTES = 4
/** A client that has not answered the last ping when the next is due is gone. */
const PING_MS = 30_000
/** How long the other side's answer to our end is waited for. */
const LINGER_MS = 1_000

/**
 * The text messages of a WebSocket as the frames of the open form, and the other way round: a message is a frame without its length, which the protocol below has
 * of its own. Reading slowly stops the other side, and the other way round.
 */
export class MessageDuplex extends Duplex {
  readonly #socket: WebSocket
  readonly #clock: Clock
  #timer: Timer
  #alive = true

  constructor(socket: WebSocket, clock: Clock) {
    super({ allowHalfOpen: true })
    this.#socket = socket
    this.#clock = clock
    socket.binaryType = 'nodebuffer'
    socket.on('error', (error) => this.destroy(error))
    socket.on('message', (data, isBinary) => this.#take(data as Buffer, isBinary))
    socket.on('pong', () => {
      this.#alive = true
    })
    socket.on('close', () => this.#closed())
    this.#timer = this.#pingLater()
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume()
  }

  /** Each write is one frame, as the session makes them. */
  override _write(frame: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.send(frame.subarray(HEADER_BYTES), { binary: false }, (error) => done(error))
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#timer.cancel()
    this.#timer = this.#clock.after(LINGER_MS, () => this.destroy())
    this.#socket.close(1000)
    if (this.#socket.isPaused) this.#socket.resume()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#timer.cancel()
    this.#socket.terminate()
    done(error)
  }

  #take(data: Buffer, isBinary: boolean): void {
    if (isBinary) {
      this.destroy(new Error('a binary message among the envelopes'))
      return
    }
    const frame = Buffer.allocUnsafe(HEADER_BYTES + data.length)
    frame.writeUInt32BE(data.length)
    data.copy(frame, HEADER_BYTES)
    if (!this.push(frame)) this.#socket.pause()
  }

  #pingLater(): Timer {
    return this.#clock.after(PING_MS, () => {
      if (!this.#alive) {
        this.destroy(new Error('the client does not answer'))
        return
      }
      // Who is paused by us cannot be heard.
      this.#alive = this.#socket.isPaused
      if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping()
      this.#timer = this.#pingLater()
    })
  }

  #closed(): void {
    if (this.destroyed) return
    this.#timer.cancel()
    this.push(null)
    if (this.writableFinished) this.destroy()
    else this.end(() => this.destroy())
  }
}
