import { Duplex } from 'node:stream'
import type { Clock, Timer } from '../core/clock.ts'
import { errorRow } from '../core/error-table.ts'
import { KithError } from '../core/errors.ts'
import { JoinedBytes } from '../core/joined-bytes.ts'
import type { LinkStream } from './types.ts'

const HIGH_WATER_BYTES = 256 * 1024
/** One piece of a large chunk: a blocked stream queues at most a few of these. */
const PIECE_BYTES = 64 * 1024
const CLOSED = errorRow('CLOSED').number
const STREAM_RESET = errorRow('STREAM_RESET').number

/** The readable side keeps one piece; what waits behind it is joined here, not kept piece by piece. */
const OPTIONS = { allowHalfOpen: true, readableHighWaterMark: 1, writableHighWaterMark: HIGH_WATER_BYTES } as const

/**
 * A Node `Duplex` over a lean stream, for `pipeline`, `http` and everything else that wants one; it takes over all callbacks.
 * Half-open. Destroying it with a `KithError` resets the stream with that error's number; destroying it after `end` only stops reading.
 * An `error` that nobody listens to is dropped: a peer cannot end the process.
 */
export function createDuplex(stream: LinkStream, clock: Clock): Duplex {
  return new StreamDuplex(stream, clock)
}

class StreamDuplex extends Duplex {
  readonly #stream: LinkStream
  readonly #clock: Clock
  /** Bytes pushed that the reader has not taken yet: credited at the next read. */
  #withheld = 0
  /** Arrived and not pushed yet. */
  readonly #waiting: JoinedBytes = new JoinedBytes()
  /** `_read` was called and not answered: it is not called again before the next push. */
  #asked = false
  /** The write that waits for the stream: what is left of it, then its callback. */
  #rest: readonly Uint8Array[] = []
  #at = 0
  #written: ((error?: Error | null) => void) | null = null
  #writeError: KithError | null = null
  #ended = false
  #readEnded = false
  #timer: Timer | null = null
  /** As `net.Socket` has it; http's agent looks at it. */
  timeout = 0

  constructor(stream: LinkStream, clock: Clock) {
    super(OPTIONS)
    this.#stream = stream
    this.#clock = clock
    this.on('error', ignore)
    // `_read` is not called again after the last piece.
    this.on('end', () => this.#giveBack())
    stream.onEnd = () => {
      this.#readEnded = true
      for (let chunk = this.#waiting.take(); chunk !== undefined; chunk = this.#waiting.take()) this.#push(chunk)
      this.push(null)
    }
    stream.onError = (error, direction) => this.#failed(error, direction)
    stream.onDrain = () => this.#continue()
    stream.onClose = ignore
    stream.onData = (data, start, end) => this.#arrived(data, start, end)
  }

  /** The reader has taken what was pushed. */
  override _read(): void {
    const length = this.#withheld
    this.#withheld = 0
    if (length > 0) this.#stream.consume(length)
    const chunk = this.#waiting.take()
    if (chunk === undefined) this.#asked = true
    else this.#push(chunk)
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#writeError !== null) {
      done(this.#writeError)
      return
    }
    if (this.#timer !== null) this.#touch()
    if (chunk.length <= PIECE_BYTES) {
      if (this.#stream.write(chunk, 0, chunk.length)) {
        done()
        return
      }
      this.#rest = []
    } else this.#rest = [chunk]
    this.#at = 0
    this.#written = done
    if (this.#rest.length > 0) this.#continue()
  }

  override _writev(chunks: { chunk: Uint8Array; encoding: BufferEncoding }[], done: (error?: Error | null) => void): void {
    if (this.#writeError !== null) {
      done(this.#writeError)
      return
    }
    if (this.#timer !== null) this.#touch()
    this.#rest = chunks.map((entry) => entry.chunk)
    this.#at = 0
    this.#written = done
    this.#continue()
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#writeError !== null) {
      done(this.#writeError)
      return
    }
    this.#ended = true
    this.#stream.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#timer?.cancel()
    this.#giveBack()
    const written = this.#written
    this.#written = null
    this.#rest = []
    const number = error instanceof KithError ? error.number : error === null ? CLOSED : STREAM_RESET
    if (error !== null || !this.#ended) this.#stream.reset(number)
    else if (!this.#readEnded) this.#stream.stop(number)
    if (written !== null) written(error ?? new KithError('CLOSED'))
    done(error)
  }

  // What callers of sockets expect to find. There is no socket: nothing to tune, nothing that keeps the process alive.

  setTimeout(ms: number, listener?: () => void): this {
    this.timeout = ms
    if (listener !== undefined) {
      if (ms === 0) this.off('timeout', listener)
      else this.once('timeout', listener)
    }
    this.#timer?.cancel()
    this.#timer = null
    if (ms > 0) this.#touch()
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }

  #touch(): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(this.timeout, () => this.emit('timeout'))
  }

  #arrived(data: Buffer, start: number, end: number): void {
    if (this.#timer !== null) this.#touch()
    if (!this.#asked && (this.readableLength > 0 || this.#waiting.length > 0)) {
      this.#waiting.append(data, start, end)
      return
    }
    const copy = Buffer.allocUnsafe(end - start)
    data.copy(copy, 0, start, end)
    this.#push(copy)
  }

  /** Nobody reads any more: nothing is held here. */
  #giveBack(): void {
    const length = this.#withheld + this.#waiting.clear()
    this.#withheld = 0
    if (length > 0) this.#stream.consume(length)
  }

  #push(chunk: Buffer): void {
    this.#asked = false
    if (this.push(chunk)) this.#stream.consume(chunk.length)
    else this.#withheld += chunk.length
  }

  /** Writes pieces until the stream has enough or nothing is left. */
  #continue(): void {
    const done = this.#written
    if (done === null) return
    for (let index = 0; index < this.#rest.length; index++) {
      const chunk = this.#rest[index] as Uint8Array
      while (this.#at < chunk.length) {
        const end = Math.min(chunk.length, this.#at + PIECE_BYTES)
        const more = this.#stream.write(chunk, this.#at, end)
        this.#at = end
        if (!more) {
          this.#rest = this.#rest.slice(index)
          return
        }
      }
      this.#at = 0
    }
    this.#rest = []
    this.#written = null
    done()
  }

  #failed(error: KithError, direction: 'both' | 'write'): void {
    if (direction === 'both') {
      this.#readEnded = true
      this.destroy(error)
      return
    }
    this.#writeError = error
    const written = this.#written
    this.#written = null
    this.#rest = []
    written?.(error)
  }
}

function ignore(): void {}
