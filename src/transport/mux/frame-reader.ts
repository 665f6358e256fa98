import { HEADER_BYTES } from './frames.ts'

/** Where frames go. `header` returns the number of payload bytes that follow; `payload` gets them in pieces, as they arrive. */
export interface FrameSink {
  header(buffer: Buffer, at: number): number
  payload(data: Buffer, start: number, end: number, last: boolean): void
}

/**
 * Cuts a stream of bytes into frames without assembling anything: twelve bytes of scratch for a header that was split, and the number of payload bytes
 * still to come. Payload is passed on in place.
 */
export class FrameReader {
  readonly #sink: FrameSink
  readonly #scratch = Buffer.alloc(HEADER_BYTES)
  #filled = 0
  #left = 0
  #stopped = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** Nothing more is passed on, not even the rest of the bytes at hand. */
  stop(): void {
    this.#stopped = true
  }

  push(data: Buffer, start: number, end: number): void {
    let at = start
    while (at < end && !this.#stopped) {
      if (this.#left > 0) {
        const length = Math.min(this.#left, end - at)
        this.#left -= length
        this.#sink.payload(data, at, at + length, this.#left === 0)
        at += length
      } else if (this.#filled === 0 && end - at >= HEADER_BYTES) {
        this.#left = this.#sink.header(data, at)
        at += HEADER_BYTES
      } else {
        const length = Math.min(HEADER_BYTES - this.#filled, end - at)
        data.copy(this.#scratch, this.#filled, at, at + length)
        this.#filled += length
        at += length
        if (this.#filled < HEADER_BYTES) return
        this.#filled = 0
        this.#left = this.#sink.header(this.#scratch, 0)
      }
    }
  }
}
