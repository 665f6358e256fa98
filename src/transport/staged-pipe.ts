import type { KithError } from '../core/errors.ts'
import type { BytePipe } from '../core/pipe.ts'

const STAGING_BYTES = 65_536
/** Larger writes are copied into memory of their own. */
const DIRECT_BYTES = 16_384
const SMALL_BYTES = 4_096

/** What the pipes without records of their own have in common: what is written in one turn of the event loop leaves together at its end. */
export abstract class StagedPipe implements BytePipe {
  onData: (data: Buffer, start: number, end: number) => void = () => {}
  onFlush: () => void = () => {}
  onDrain: () => void = () => {}
  onClose: (error: KithError | null) => void = () => {}
  staging: Buffer = Buffer.alloc(0)
  /** Bytes that are staged. */
  protected used = 0
  /** Ours: nothing is staged for a later turn any more. */
  protected closing = false
  protected closed = false
  #scheduled = false

  abstract readonly blocked: boolean
  abstract start(): void
  abstract close(): void
  abstract destroy(error: KithError): void
  /** Takes the bytes over. */
  protected abstract send(bytes: Buffer): void

  reserve(length: number): number {
    if (this.used + length > this.staging.length) {
      this.#ship()
      this.staging = Buffer.allocUnsafeSlow(STAGING_BYTES)
    }
    this.#schedule()
    const at = this.used
    this.used += length
    return at
  }

  write(data: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (length === 0) return
    if (length >= DIRECT_BYTES) {
      this.#ship()
      const copy = Buffer.allocUnsafeSlow(length)
      copy.set(data.subarray(start, end))
      this.send(copy)
      this.#schedule()
      return
    }
    const at = this.reserve(length)
    this.staging.set(data.subarray(start, end), at)
  }

  flush(): void {
    this.#scheduled = false
    if (this.closed) return
    this.onFlush()
    this.#ship()
  }

  /** The pipe is over; the first reason counts. */
  protected end(error: KithError | null): void {
    if (this.closed) return
    this.closed = true
    this.onClose(error)
  }

  #schedule(): void {
    if (this.#scheduled || this.closing || this.closed) return
    this.#scheduled = true
    process.nextTick(() => this.#scheduled && this.flush())
  }

  /** The staging buffer goes with what is in it; a copy, when that is little. */
  #ship(): void {
    if (this.used === 0) return
    const used = this.staging.subarray(0, this.used)
    this.used = 0
    if (used.length <= SMALL_BYTES) this.send(Buffer.from(used))
    else {
      this.staging = Buffer.alloc(0)
      this.send(used)
    }
  }
}
