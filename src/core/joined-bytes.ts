const FIRST_BYTES = 512
const MOST_BYTES = 64 * 1024

/**
 * Bytes that wait for a slow reader, copied and joined. A peer chooses the size of its frames: kept one by one, a frame of one byte costs two hundred, and a
 * window of 256 KiB becomes 60 MiB. Joined, what waits takes at most twice its length.
 */
export class JoinedBytes {
  length = 0
  readonly #chunks: Buffer[] = []
  /** Bytes used of the last chunk; the ones before are full. */
  #used = 0

  append(data: Uint8Array, start: number, end: number): void {
    this.length += end - start
    for (let at = start; at < end; ) {
      let last = this.#chunks.at(-1)
      if (last === undefined || this.#used === last.length) {
        const double = last === undefined ? FIRST_BYTES : 2 * last.length
        last = Buffer.allocUnsafeSlow(Math.max(Math.min(double, MOST_BYTES), Math.min(end - at, MOST_BYTES)))
        this.#chunks.push(last)
        this.#used = 0
      }
      const taken = Math.min(end - at, last.length - this.#used)
      last.set(data.subarray(at, at + taken), this.#used)
      this.#used += taken
      at += taken
    }
  }

  /** Throws everything away; how much it was. */
  clear(): number {
    const { length } = this
    this.length = 0
    this.#chunks.length = 0
    return length
  }

  /** The next bytes, at most 64 KiB; they belong to the caller. */
  take(): Buffer | undefined {
    const first = this.#chunks.shift()
    if (first === undefined) return undefined
    const bytes = this.#chunks.length === 0 ? first.subarray(0, this.#used) : first
    this.length -= bytes.length
    return bytes
  }
}
