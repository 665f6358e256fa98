import { CHUNK_BYTES } from './layout.ts'
import { MAX_GET_CHUNKS } from './wire.ts'

/** What one question should take: short enough that a provider which slows down holds little, long enough that asking costs nothing. */
const SPAN_MS = 500
/** Before anything is known. */
const FIRST_CHUNKS = 4
/** Weight of the newest measurement. */
const NEW = 0.3
/** A provider of unknown speed is given this long before its chunks are wanted elsewhere. */
const UNKNOWN_MS = 1_000

/** Shorter stretches measure buffers, not the provider. */
const MEASURE_MS = 50

/** How fast a provider delivers, and how much it owes. Times are of a monotonic clock, in ms. */
export class Pace {
  /** Bytes per ms; undefined before it could be measured. */
  #speed: number | undefined
  /** Chunks asked for and not delivered. */
  #owed = 0
  /** When it last delivered something, or was asked while it owed nothing. */
  #since: number
  /** Delivered since `#from`, and not measured yet. */
  #bytes = 0
  #from: number

  constructor(now: number) {
    this.#since = now
    this.#from = now
  }

  /** Chunks of the next question. */
  get spanChunks(): number {
    if (this.#speed === undefined) return FIRST_CHUNKS
    return Math.max(1, Math.min(MAX_GET_CHUNKS, Math.floor((this.#speed * SPAN_MS) / CHUNK_BYTES)))
  }

  asked(chunks: number, now: number): void {
    if (this.#owed === 0) {
      this.#since = now
      this.#from = now
      this.#bytes = 0
    }
    this.#owed += chunks
  }

  delivered(bytes: number, now: number): void {
    this.#since = now
    this.#owed = Math.max(0, this.#owed - 1)
    this.#bytes += bytes
    const elapsed = now - this.#from
    if (elapsed < MEASURE_MS) return
    const speed = this.#bytes / elapsed
    this.#speed = this.#speed === undefined ? speed : this.#speed + NEW * (speed - this.#speed)
    this.#from = now
    this.#bytes = 0
  }

  /** What so many more chunks would take, on top of what is owed. Unknown speed counts as fast: it has to be tried. */
  costMs(chunks: number): number {
    return this.#speed === undefined ? 0 : ((this.#owed + chunks) * CHUNK_BYTES) / this.#speed
  }

  /** How long what is owed will still take; grows while nothing comes. */
  remainingMs(now: number): number {
    const silent = now - this.#since
    if (this.#speed === undefined) return Math.max(0, silent - UNKNOWN_MS)
    const perChunk = CHUNK_BYTES / this.#speed
    const overdue = Math.max(0, silent - perChunk)
    return Math.max(this.#owed * perChunk - silent, overdue)
  }
}
