import type { Socket } from 'node:net'
import { borrowBuffer, returnBuffer } from './pool.ts'

/** A piece from this size on is one of many: what a read of the link holds leaves in one write at the end of the turn. Smaller ones leave at once. */
const BULK_BYTES = 16_384

/**
 * Writes to a local socket what the link hands out, in few writes: a write wakes the program behind it, and that costs more than the bytes.
 *
 * ```text
 * link    | piece | piece | piece |  | piece ...            (valid only during the call)
 * buffer  | piece   piece   piece    pi|ece ...             written when full, at the end of the turn, or once the socket has taken the last write
 * ```
 *
 * While the socket is busy, whatever comes fills one buffer: the peer chooses the size of its pieces, and each kept by itself would cost many times its length.
 */
export class LocalWriter {
  readonly #socket: Socket
  readonly #written: (length: number) => void
  #buffer: Buffer | undefined
  #used = 0
  /** Bytes that the socket has not taken yet. */
  #writing = 0
  #scheduled = false

  /** `written` is told how many bytes the socket took, or will never take. */
  constructor(socket: Socket, written: (length: number) => void) {
    this.#socket = socket
    this.#written = written
  }

  /** Takes `data[start, end)`, which is copied. */
  write(data: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      this.#buffer ??= borrowBuffer(Math.max(end - at, this.#writing))
      const length = Math.min(end - at, this.#buffer.length - this.#used)
      data.copy(this.#buffer, this.#used, at, at + length)
      this.#used += length
      at += length
      if (this.#used === this.#buffer.length) this.flush()
    }
    if (this.#used === 0 || this.#writing > 0 || this.#scheduled) return
    if (end - start < BULK_BYTES) {
      this.flush()
      return
    }
    this.#scheduled = true
    process.nextTick(this.#endOfTurn)
  }

  /** Hands the socket what was gathered. */
  flush(): void {
    const buffer = this.#buffer
    const length = this.#used
    if (buffer === undefined) return
    this.#buffer = undefined
    this.#used = 0
    this.#writing += length
    this.#socket.write(length === buffer.length ? buffer : buffer.subarray(0, length), () => {
      returnBuffer(buffer)
      this.#writing -= length
      this.#written(length)
      if (this.#writing === 0) this.flush()
    })
  }

  #endOfTurn = (): void => {
    this.#scheduled = false
    if (this.#writing === 0) this.flush()
  }
}
