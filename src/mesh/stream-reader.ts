import type { Clock, Timer } from '../core/clock.ts'
import { malformed } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'

/** Reads a short, bounded conversation off a lean stream: exact lengths, one deadline for all of it. */
export class StreamReader {
  readonly #stream: LinkStream
  readonly #limit: number
  readonly #timer: Timer
  readonly #release: () => void
  #buffer: Buffer = Buffer.alloc(0)
  #total = 0
  #ended = false
  #error: KithError | undefined
  #wake: (() => void) | undefined

  constructor(
    stream: LinkStream,
    options: { readonly clock: Clock; readonly deadlineMs: number; readonly limit: number; readonly signal?: AbortSignal | undefined },
  ) {
    const { signal } = options
    this.#stream = stream
    this.#limit = options.limit
    this.#timer = options.clock.after(options.deadlineMs, () => this.#fail(new KithError('TIMEOUT'), true))
    const abort = (): void =>
      this.#fail(signal?.reason instanceof KithError ? signal.reason : new KithError('ABORTED', undefined, { cause: signal?.reason }), true)
    signal?.addEventListener('abort', abort, { once: true })
    this.#release = () => signal?.removeEventListener('abort', abort)
    stream.onEnd = () => {
      this.#ended = true
      this.#wake?.()
    }
    stream.onError = (error, direction) => {
      if (direction === 'both') this.#fail(error, false)
    }
    stream.onData = (data, start, end) => {
      stream.consume(end - start)
      this.#total += end - start
      if (this.#total > this.#limit) this.#fail(malformed('longer than allowed', { limit: this.#limit }), true)
      else this.#buffer = Buffer.concat([this.#buffer, data.subarray(start, end)])
      this.#wake?.()
    }
    if (signal?.aborted === true) abort()
  }

  /** Exactly `length` bytes. @throws KithError `WIRE_MALFORMED` at an early end, `TIMEOUT`, `ABORTED`, or what ended the stream. */
  async read(length: number): Promise<Uint8Array> {
    const bytes = await this.#upTo(length)
    if (bytes.length < length) throw malformed('ends too early', { wanted: length, got: bytes.length })
    return bytes
  }

  /** Everything up to the peer's end. */
  rest(): Promise<Uint8Array> {
    return this.#upTo(this.#limit + 1)
  }

  /** Stops the clock. The stream is left as it is. */
  close(): void {
    this.#timer.cancel()
    this.#release()
  }

  async #upTo(length: number): Promise<Uint8Array> {
    while (this.#buffer.length < length && !this.#ended && this.#error === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
    // What arrived whole before a failure is still good.
    if (this.#error !== undefined && this.#buffer.length < length) throw this.#error
    const out = this.#buffer.subarray(0, length)
    this.#buffer = this.#buffer.subarray(out.length)
    return Uint8Array.from(out)
  }

  #fail(error: KithError, tell: boolean): void {
    if (this.#error !== undefined) return
    this.#error = error
    if (tell) this.#stream.reset(error.number)
    this.#wake?.()
  }
}
