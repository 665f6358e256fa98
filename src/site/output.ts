import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import type { FoundFile } from './folder.ts'
import type { ByteRange } from './ranges.ts'

const PIECE_BYTES = 65_536

/** Writes to a stream as fast as it is read. */
export class Output {
  readonly #stream: Duplex
  readonly #clock: Clock
  readonly #timeoutMs: number

  constructor(stream: Duplex, clock: Clock, timeoutMs: number) {
    this.#stream = stream
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** False when nobody takes the bytes any more. */
  async write(bytes: Buffer): Promise<boolean> {
    if (this.#stream.destroyed || this.#stream.writableEnded) return false
    if (bytes.length === 0 || this.#stream.write(bytes)) return true
    return await new Promise((resolve) => {
      const settle = (value: boolean): void => {
        timer.cancel()
        this.#stream.off('drain', drained)
        this.#stream.off('close', closed)
        resolve(value)
      }
      const drained = (): void => settle(true)
      const closed = (): void => settle(false)
      const timer = this.#clock.after(this.#timeoutMs, closed)
      this.#stream.on('drain', drained)
      this.#stream.on('close', closed)
    })
  }

  /** A head and pieces of a file behind it; false when they could not all be sent. The first piece leaves together with the head. */
  async writeFile(head: Buffer, file: FoundFile, parts: readonly (Buffer | ByteRange)[]): Promise<boolean> {
    this.#stream.cork()
    let corked = true
    const uncork = (): void => {
      if (corked) this.#stream.uncork()
      corked = false
    }
    try {
      let good = await this.write(head)
      for (const part of parts) {
        if (!('start' in part)) {
          good &&= await this.write(part)
          continue
        }
        const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, part.end - part.start))
        for (let at = part.start; good && at < part.end; ) {
          const read = await file.read(piece.subarray(0, Math.min(piece.length, part.end - at)), at)
          if (read === 0) return false
          at += read
          // A copy: the stream keeps what it is given until it was sent.
          const sent = this.write(Buffer.from(piece.subarray(0, read)))
          uncork()
          good = await sent
        }
      }
      return good
    } finally {
      uncork()
    }
  }
}
