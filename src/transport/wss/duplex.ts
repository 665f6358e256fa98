import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../../core/clock.ts'

/** Largest message sent; and received, with room for other implementations. */
const MESSAGE_BYTES = 65_536
export const MAX_MESSAGE_BYTES = 1_048_576
/** Middle-boxes forget connections that are silent for a minute. */
const PING_MS = 30_000
/** How long the other side's answer to our end is waited for. */
const LINGER_MS = 1_000

/** The bytes of a WebSocket's binary messages, their boundaries forgotten. Reading slowly stops the other side, and the other way round. */
export class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocket
  readonly #clock: Clock
  #ping: Timer
  #linger: Timer | undefined

  constructor(socket: WebSocket, clock: Clock) {
    super({ allowHalfOpen: true, readableHighWaterMark: 262_144, writableHighWaterMark: 262_144 })
    this.#socket = socket
    this.#clock = clock
    socket.binaryType = 'nodebuffer'
    socket.on('error', (error) => this.destroy(error))
    socket.on('message', (data, isBinary) => {
      if (!isBinary || !Buffer.isBuffer(data)) this.destroy(new Error('a text message among the bytes'))
      else if (!this.push(data)) socket.pause()
    })
    socket.on('close', (code) => this.#closed(code))
    this.on('end', () => this.#settle())
    this.#ping = this.#pingLater()
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const last = chunk.length - (chunk.length % MESSAGE_BYTES || MESSAGE_BYTES)
    for (let at = 0; at < last; at += MESSAGE_BYTES) this.#socket.send(chunk.subarray(at, at + MESSAGE_BYTES), { binary: true })
    this.#socket.send(chunk.subarray(Math.max(0, last)), { binary: true }, (error) => done(error))
  }

  /** There is no half of a WebSocket: the end is told, and what the other side still says before its own is read. */
  override _final(done: (error?: Error | null) => void): void {
    this.#linger = this.#clock.after(LINGER_MS, () => this.destroy())
    this.#socket.close(1000)
    if (this.#socket.isPaused) this.#socket.resume()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#ping.cancel()
    this.#linger?.cancel()
    this.#socket.terminate()
    done(error)
  }

  #pingLater(): Timer {
    return this.#clock.after(PING_MS, () => {
      if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping()
      this.#ping = this.#pingLater()
    })
  }

  #closed(code: number): void {
    this.#ping.cancel()
    if (code !== 1000 && code !== 1005) this.destroy(new Error(`the WebSocket ended with ${code}`))
    else {
      this.push(null)
      this.#settle()
    }
  }

  /** Both ends are told and everything was read. */
  #settle(): void {
    if (this.readableEnded && this.#socket.readyState === this.#socket.CLOSED) this.destroy()
  }
}
