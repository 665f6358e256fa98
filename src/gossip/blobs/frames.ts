import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { JoinedBytes } from '../../core/joined-bytes.ts'
import type { LinkStream } from '../../transport/types.ts'

export interface FramesOptions {
  readonly clock: Clock
  /** Longest silence while something is read, or while the other side takes nothing of what is written. */
  readonly idleMs: number
}

interface PendingRead {
  readonly target: Buffer
  at: number
  resolve(): void
  reject(error: KithError): void
}

/**
 * Exact reads and awaited writes on a lean stream, one reader and one writer. Bytes go from the link straight into the buffer they are read for; what comes before
 * anybody reads stays charged to the stream's window until it is read.
 */
export class Frames {
  readonly stream: LinkStream
  readonly #clock: Clock
  readonly #waiting: JoinedBytes = new JoinedBytes()
  /** Taken out of `#waiting`, and read up to `#at`. */
  #piece: Buffer | undefined
  #at = 0
  #idleMs: number
  #reading: PendingRead | undefined
  #readTimer: Timer | undefined
  #heardAt = 0
  #writing: { resolve(): void; reject(error: KithError): void } | undefined
  #writeTimer: Timer | undefined
  #ended = false
  #error: KithError | undefined
  #writeError: KithError | undefined

  constructor(stream: LinkStream, options: FramesOptions) {
    this.stream = stream
    this.#clock = options.clock
    this.#idleMs = options.idleMs
    stream.onEnd = () => {
      this.#ended = true
      this.#reading?.reject(early())
    }
    stream.onError = (error, direction) => {
      this.#writeError ??= error
      this.#writing?.reject(error)
      if (direction === 'both') this.#fail(error)
    }
    stream.onDrain = () => this.#writing?.resolve()
    stream.onData = (data, start, end) => this.#take(data, start, end)
  }

  /** Whether the other side has ended, and everything it said was read. */
  get over(): boolean {
    return this.#ended && this.#buffered === 0
  }

  /** Whether bytes lie here that nobody has read. */
  get unasked(): boolean {
    return this.#buffered > 0
  }

  /** What ended both directions, if anything has. */
  get failure(): KithError | undefined {
    return this.#error
  }

  /** Silence is judged by another measure from now on. */
  set idleMs(ms: number) {
    this.#idleMs = ms
  }

  /** Exactly `length` bytes. @throws KithError `TIMEOUT`, `LINK_LOST` at an early end, or what ended the stream. */
  async read(length: number): Promise<Buffer> {
    const target = Buffer.allocUnsafeSlow(length)
    await this.readInto(target)
    return target
  }

  /** The next byte, or `undefined` at the end of the stream. @throws as `read`. */
  async readByte(): Promise<number | undefined> {
    if (this.over) return undefined
    const target = Buffer.allocUnsafeSlow(1)
    try {
      await this.readInto(target)
    } catch (error) {
      if (this.over && this.#error === undefined) return undefined
      throw error
    }
    return target[0]
  }

  /** Fills the whole of `target`. @throws as `read`. */
  async readInto(target: Buffer): Promise<void> {
    if (this.#reading !== undefined) throw new TypeError('one read at a time')
    const at = this.#fill(target)
    if (at === target.length) return
    if (this.#error !== undefined) throw this.#error
    if (this.#ended) throw early()
    try {
      await new Promise<void>((resolve, reject) => {
        this.#reading = { target, at, resolve, reject }
        this.#heardAt = this.#clock.monotonic()
        this.#armRead()
      })
    } finally {
      this.#reading = undefined
      this.#readTimer?.cancel()
    }
  }

  /** Resolves when the stream can take more. The bytes are its own from the start. @throws KithError `TIMEOUT`, or what ended the stream. */
  async write(...parts: readonly Uint8Array[]): Promise<void> {
    if (this.#writing !== undefined) throw new TypeError('one write at a time')
    const failed = this.#writeError ?? this.#error
    if (failed !== undefined) throw failed
    let room = true
    for (const part of parts) room = this.stream.write(part)
    if (room) return
    try {
      await new Promise<void>((resolve, reject) => {
        this.#writing = { resolve, reject }
        this.#writeTimer = this.#clock.after(this.#idleMs, () => reject(silent()))
      })
    } finally {
      this.#writing = undefined
      this.#writeTimer?.cancel()
    }
  }

  end(): void {
    this.stream.end()
  }

  /** Ends both directions with a code; whoever reads or writes gets the error. */
  fail(error: KithError): void {
    if (this.#error === undefined) this.stream.reset(error.number)
    this.#fail(error)
  }

  get #buffered(): number {
    return this.#waiting.length + (this.#piece === undefined ? 0 : this.#piece.length - this.#at)
  }

  #fail(error: KithError): void {
    this.#error ??= error
    this.#reading?.reject(this.#error)
    this.#writing?.reject(this.#error)
    // Nobody reads what is left: its credit goes back.
    const left = this.#buffered
    this.#waiting.clear()
    this.#piece = undefined
    this.#at = 0
    if (left > 0) this.stream.consume(left)
  }

  #take(data: Buffer, start: number, end: number): void {
    if (this.#error !== undefined) {
      this.stream.consume(end - start)
      return
    }
    let from = start
    const reading = this.#reading
    if (reading !== undefined && reading.at < reading.target.length) {
      const length = Math.min(end - from, reading.target.length - reading.at)
      data.copy(reading.target, reading.at, from, from + length)
      reading.at += length
      from += length
      this.stream.consume(length)
      this.#heardAt = this.#clock.monotonic()
      if (reading.at === reading.target.length) reading.resolve()
    }
    if (from < end) this.#waiting.append(data, from, end)
  }

  #fill(target: Buffer): number {
    let at = 0
    while (at < target.length) {
      this.#piece ??= this.#waiting.take()
      if (this.#piece === undefined) break
      const length = Math.min(target.length - at, this.#piece.length - this.#at)
      this.#piece.copy(target, at, this.#at, this.#at + length)
      at += length
      this.#at += length
      if (this.#at === this.#piece.length) {
        this.#piece = undefined
        this.#at = 0
      }
    }
    if (at > 0) this.stream.consume(at)
    return at
  }

  /** One timer per read: when it fires, what was heard meanwhile moves it on. */
  #armRead(after = this.#idleMs): void {
    this.#readTimer = this.#clock.after(after, () => {
      const left = this.#heardAt + this.#idleMs - this.#clock.monotonic()
      if (left > 0) this.#armRead(left)
      else this.#reading?.reject(silent())
    })
  }
}

function early(): KithError {
  return new KithError('LINK_LOST', 'the stream ended too early')
}

function silent(): KithError {
  return new KithError('TIMEOUT', 'the other side was silent for too long')
}
