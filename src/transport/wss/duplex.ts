import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Clock, Timer } from '../../core/clock.ts'
import { JoinedBytes } from '../../core/joined-bytes.ts'

/** Largest message sent. */
const MESSAGE_BYTES = 65_536
/** Largest message received, with room for other implementations. */
const MAX_MESSAGE_BYTES = 1_048_576
/** The other side chooses the sizes: a piece of one byte that waits for the rest of its message costs four hundred, so pieces are counted too. */
const MAX_PIECES = 4_096
const MAX_FRAGMENTS = 1_024
/** What is taken of the other side. */
export const INCOMING_LIMITS: { readonly maxPayload: number; readonly maxBufferedChunks: number; readonly maxFragments: number } = {
  maxPayload: MAX_MESSAGE_BYTES,
  maxBufferedChunks: MAX_PIECES,
  maxFragments: MAX_FRAGMENTS,
}
/** What waits for a slow reader before the other side is stopped. */
const WAITING_BYTES = 262_144
/** Middle-boxes forget connections that are silent for a minute. */
const PING_MS = 30_000
/** How long the other side's answer to our end is waited for. */
const LINGER_MS = 1_000

/** The bytes of a WebSocket's binary messages, their boundaries forgotten. Reading slowly stops the other side, and the other way round. */
export class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocket
  readonly #clock: Clock
  /** Arrived and not given to the reader yet. */
  readonly #waiting: JoinedBytes = new JoinedBytes()
  /** The reader asked for more and has got nothing yet: it does not ask again before that. */
  #asked = false
  #ping: Timer
  #linger: Timer | undefined

  constructor(socket: WebSocket, clock: Clock) {
    // The readable side keeps one message; what waits behind it is joined here, not kept one by one.
    super({ allowHalfOpen: true, readableHighWaterMark: 1, writableHighWaterMark: 262_144 })
    this.#socket = socket
    this.#clock = clock
    socket.binaryType = 'nodebuffer'
    socket.on('error', (error) => this.destroy(error))
    socket.on('message', (data, isBinary) => {
      if (!isBinary || !Buffer.isBuffer(data)) this.destroy(new Error('a text message among the bytes'))
      else this.#arrived(data)
    })
    socket.on('close', (code) => this.#closed(code))
    this.on('end', () => this.#settle())
    this.#ping = this.#pingLater()
  }

  override _read(): void {
    const bytes = this.#waiting.take()
    if (bytes === undefined) this.#asked = true
    else this.push(bytes)
    if (this.#socket.isPaused && this.#waiting.length < WAITING_BYTES) this.#socket.resume()
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

  #arrived(data: Buffer): void {
    if (data.length === 0) return
    if (this.#waiting.length === 0 && (this.#asked || (this.readableFlowing === true && this.readableLength === 0))) {
      this.#asked = false
      this.push(data)
      return
    }
    this.#waiting.append(data, 0, data.length)
    if (this.#waiting.length >= WAITING_BYTES) this.#socket.pause()
  }

  #closed(code: number): void {
    this.#ping.cancel()
    if (code !== 1000 && code !== 1005) this.destroy(new Error(`the WebSocket ended with ${code}`))
    else {
      for (let bytes = this.#waiting.take(); bytes !== undefined; bytes = this.#waiting.take()) this.push(bytes)
      this.push(null)
      this.#settle()
    }
  }

  /** Both ends are told and everything was read. */
  #settle(): void {
    if (this.readableEnded && this.#socket.readyState === this.#socket.CLOSED) this.destroy()
  }
}
