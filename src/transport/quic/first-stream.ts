import { asKithError, type KithError } from '../../core/errors.ts'
import { ChunkPool } from './chunks.ts'
import { FrameReader, frame } from './frames.ts'
import { ReadHalf, WriteHalf } from './halves.ts'
import type { NativeStream } from './native.ts'
import { nothing } from './nothing.ts'

/** The dialer's first stream as a pipe of messages: the greeting, then control. Layout: `frames.ts`. */
export class FirstStream {
  /** A whole payload. May call `pause`. */
  onFrame: (payload: Uint8Array) => void = nothing
  /** The peer ended it: nothing follows. */
  onEnd: () => void = nothing
  /** A native failure, or bytes that are not frames. */
  onError: (error: KithError) => void = nothing
  /** After `finish`: everything was handed to the library. */
  onFinished: () => void = nothing
  readonly #write: WriteHalf
  readonly #read = new ReadHalf()
  readonly #frames = new FrameReader()

  constructor() {
    this.#write = new WriteHalf(new ChunkPool())
    this.#write.onError = (error) => this.onError(error)
    this.#write.onFinished = () => this.onFinished()
    this.#read.onError = (error) => this.onError(error)
    this.#read.onEnd = () => this.onEnd()
    this.#read.onData = (data) => this.#data(data)
  }

  /** Bytes not yet taken by the library. */
  get queued(): number {
    return this.#write.queued
  }

  /** The listener learns the native stream with the dialer's first byte. */
  attach(native: NativeStream): void {
    this.#write.attach(native)
    this.#read.attach(native)
  }

  /** Longest payload accepted from now on. */
  set limit(bytes: number) {
    this.#frames.limit = bytes
  }

  send(payload: Uint8Array): void {
    const bytes = frame(payload)
    this.#write.append(bytes, 0, bytes.length)
  }

  finish(): void {
    this.#write.finish()
  }

  start(): void {
    this.#read.start()
  }

  pause(): void {
    this.#read.pause()
  }

  /** Reads and writes no more. */
  drop(): void {
    this.#write.drop()
    this.#read.stop()
  }

  #data(data: Buffer): void {
    try {
      this.#frames.push(data, (payload) => this.onFrame(payload))
    } catch (error) {
      this.drop()
      this.onError(asKithError(error, 'WIRE_MALFORMED'))
      return
    }
    this.#read.consume(data.length)
  }
}
