/** Sizes of the buffers that writes are joined in: most streams only ever send a header and a small message. */
export const SMALL_CHUNK_BYTES: number = 4 * 1024
/** The most that one native write takes. */
export const CHUNK_BYTES: number = 64 * 1024
const KEPT_SMALL = 64
const KEPT = 8

/** Buffers of one connection, used again once the library has taken their bytes. Keeps at most 768 KiB. */
export class ChunkPool {
  readonly #small: Buffer[] = []
  readonly #large: Buffer[] = []

  /** A buffer for a write of `length` bytes: the small size, or the large one for anything longer. */
  take(length: number): Buffer {
    if (length <= SMALL_CHUNK_BYTES) return this.#small.pop() ?? Buffer.allocUnsafeSlow(SMALL_CHUNK_BYTES)
    return this.#large.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)
  }

  give(chunk: Buffer): void {
    if (chunk.length === SMALL_CHUNK_BYTES) {
      if (this.#small.length < KEPT_SMALL) this.#small.push(chunk)
    } else if (this.#large.length < KEPT) this.#large.push(chunk)
  }
}
