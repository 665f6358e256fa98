import type { KithError } from '../../core/errors.ts'
import type { BytePipe } from '../../core/pipe.ts'
import { IN_FLIGHT_BYTES, type WireEnd } from './wire.ts'

const STAGING_BYTES = 64 * 1024
/** Larger writes become parcels of their own. */
const DIRECT_BYTES = 16 * 1024

/** A wire as the multiplexer sees it: staged during a turn, sent at its end. Takes the wire over. */
export class WirePipe implements BytePipe {
  onData: (data: Buffer, start: number, end: number) => void = () => {}
  onFlush: () => void = () => {}
  onDrain: () => void = () => {}
  onClose: (error: KithError | null) => void = () => {}
  staging: Buffer = Buffer.alloc(0)

  readonly #wire: WireEnd
  #used = 0
  #scheduled = false
  #closing = false
  #closed = false
  #wasBlocked = false

  constructor(wire: WireEnd) {
    this.#wire = wire
    wire.onParcel = (bytes) => this.#closed || this.onData(bytes, 0, bytes.length)
    wire.onDrain = () => this.#drained()
    wire.onEnd = (error) => {
      wire.end()
      this.#ended(error)
    }
  }

  get blocked(): boolean {
    const blocked = this.#wire.inFlight + this.#used > IN_FLIGHT_BYTES
    if (blocked) this.#wasBlocked = true
    return blocked
  }

  reserve(length: number): number {
    if (this.#used + length > this.staging.length) {
      this.#ship()
      this.staging = Buffer.allocUnsafeSlow(STAGING_BYTES)
    }
    this.#schedule()
    const at = this.#used
    this.#used += length
    return at
  }

  write(data: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (length === 0) return
    if (length >= DIRECT_BYTES) {
      this.#ship()
      this.#wire.send(Buffer.from(data.subarray(start, end)))
      this.#schedule()
      return
    }
    const at = this.reserve(length)
    this.staging.set(data.subarray(start, end), at)
  }

  flush(): void {
    this.#scheduled = false
    if (this.#closed) return
    this.onFlush()
    this.#ship()
    if (this.#wasBlocked && !this.blocked) this.#drained()
  }

  start(): void {
    this.#wire.resume()
  }

  close(): void {
    if (this.#closing || this.#closed) return
    this.#closing = true
    this.flush()
    this.#wire.end()
    queueMicrotask(() => this.#ended(null))
  }

  destroy(error: KithError): void {
    if (this.#closed) return
    this.#closing = true
    this.#wire.destroy(error)
  }

  #schedule(): void {
    if (this.#scheduled || this.#closing) return
    this.#scheduled = true
    process.nextTick(() => this.#scheduled && this.flush())
  }

  /** The staging buffer goes with the parcel; only its used part, when that is small. */
  #ship(): void {
    if (this.#used === 0) return
    const used = this.staging.subarray(0, this.#used)
    const small = this.#used <= 4096
    this.#wire.send(small ? Buffer.from(used) : used)
    if (!small) this.staging = Buffer.alloc(0)
    this.#used = 0
  }

  #drained(): void {
    if (this.#closed) return
    this.#wasBlocked = false
    this.onDrain()
  }

  #ended(error: KithError | null): void {
    if (this.#closed) return
    this.#closed = true
    this.onClose(error)
  }
}
