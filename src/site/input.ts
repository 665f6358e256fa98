import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'

/** Reads a stream piece by piece, each within a time. */
export class Input {
  readonly #stream: Duplex
  readonly #clock: Clock
  #ended = false
  #wake: () => void = () => {}

  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream
    this.#clock = clock
    this.resume()
  }

  /** Reads again after `release`. */
  resume(): void {
    this.#stream.on('readable', this.#readable)
    this.#stream.on('end', this.#end)
    this.#stream.on('close', this.#end)
  }

  get ended(): boolean {
    return this.#ended || this.#stream.destroyed
  }

  /** The next bytes; `'late'` when none came in time, `'end'` when none will. */
  async next(timeoutMs: number): Promise<Buffer | 'late' | 'end'> {
    const chunk = this.#take()
    if (chunk !== undefined) return chunk
    if (this.ended) return 'end'
    return await new Promise((resolve) => {
      const settle = (value: Buffer | 'late' | 'end'): void => {
        timer.cancel()
        this.#wake = () => {}
        resolve(value)
      }
      const timer = this.#clock.after(timeoutMs, () => settle('late'))
      this.#wake = () => {
        const bytes = this.#take()
        if (bytes !== undefined) settle(bytes)
        else if (this.ended) settle('end')
      }
    })
  }

  /** Leaves the stream to somebody else. */
  release(): void {
    this.#stream.off('readable', this.#readable)
    this.#stream.off('end', this.#end)
    this.#stream.off('close', this.#end)
  }

  #readable = (): void => this.#wake()

  #end = (): void => {
    this.#ended = true
    this.#wake()
  }

  #take(): Buffer | undefined {
    const chunk: unknown = this.#stream.read()
    return Buffer.isBuffer(chunk) ? chunk : undefined
  }
}
