const CHUNK_BYTES = 64 * 1024
const SMALL_BYTES = 4 * 1024
/** Free chunks kept by this thread: 4 MiB. */
const POOL_CHUNKS = 64
const pool: Buffer[] = []

/**
 * Bytes of one stream that wait for window or pipe: copied on the way in, because the caller may reuse its memory.
 * Chunks are recycled; small leftovers take small ones, so that a thousand blocked streams do not hold a thousand large chunks.
 */
export class SendQueue {
  readonly #chunks: Buffer[] = []
  /** Where the first byte is in the first chunk, and the end of the bytes in the last one. */
  #start = 0
  #end = 0
  length = 0

  push(data: Uint8Array, start: number, end: number): void {
    let at = start
    this.length += end - start
    while (at < end) {
      let last = this.#chunks.at(-1)
      if (last === undefined || this.#end === last.length) {
        last = this.#grow(end - at)
      }
      const taken = Math.min(end - at, last.length - this.#end)
      last.set(data.subarray(at, at + taken), this.#end)
      this.#end += taken
      at += taken
    }
  }

  /** The contiguous bytes at the front: `head[headStart, headStart + headLength)`. */
  get head(): Buffer {
    return this.#chunks[0] as Buffer
  }
  get headStart(): number {
    return this.#start
  }
  get headLength(): number {
    return this.#chunks.length === 1 ? this.#end - this.#start : this.head.length - this.#start
  }

  /** Drops `length` bytes of the head. */
  shift(length: number): void {
    this.#start += length
    this.length -= length
    if (this.length === 0) this.clear()
    else if (this.#start === this.head.length) {
      recycle(this.#chunks.shift() as Buffer)
      this.#start = 0
    }
  }

  clear(): void {
    for (const chunk of this.#chunks) recycle(chunk)
    this.#chunks.length = 0
    this.#start = 0
    this.#end = 0
    this.length = 0
  }

  #grow(wanted: number): Buffer {
    const large = wanted >= SMALL_BYTES || this.#chunks.length > 0
    const chunk = large ? (pool.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)) : Buffer.allocUnsafeSlow(SMALL_BYTES)
    this.#chunks.push(chunk)
    this.#end = 0
    return chunk
  }
}

function recycle(chunk: Buffer): void {
  if (chunk.length === CHUNK_BYTES && pool.length < POOL_CHUNKS) pool.push(chunk)
}
