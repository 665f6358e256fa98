import type { KithError } from '../../core/errors.ts'
import type { BytePipe } from '../../core/pipe.ts'
import type { SocketWire } from './socket-wire.ts'

const STAGING_BYTES = 65_536
/** Larger writes are copied into memory of their own. */
const DIRECT_BYTES = 16_384
const SMALL_BYTES = 4_096
const IN_FLIGHT_LIMIT = 524_288
const IN_FLIGHT_LOW = 262_144
/** Write callbacks of a fast socket follow each other without the loop ever reading, so after this much it gets its turn. */
const TURN_BYTES = 1_048_576

/** A TLS connection as the multiplexer sees it: what is written in one turn leaves together at its end. Takes the wire over. */
export class SocketPipe implements BytePipe {
  onData: (data: Buffer, start: number, end: number) => void = () => {}
  onFlush: () => void = () => {}
  onDrain: () => void = () => {}
  onClose: (error: KithError | null) => void = () => {}
  staging: Buffer = Buffer.alloc(0)
  readonly #wire: SocketWire
  #early: Buffer
  #used = 0
  #inFlight = 0
  #turn = 0
  #spent = false
  #blocked = false
  #scheduled = false
  #closed = false

  /** `early`: what arrived behind the last message of the preface. */
  constructor(wire: SocketWire, early: Buffer) {
    this.#wire = wire
    this.#early = early
    wire.onEnd = () => wire.finish()
    wire.onClose = (error) => this.#ended(error)
    if (wire.closed) queueMicrotask(() => this.#ended(wire.outcome))
  }

  get blocked(): boolean {
    return this.#blocked
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
      const copy = Buffer.allocUnsafeSlow(length)
      copy.set(data.subarray(start, end))
      this.#send(copy)
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
  }

  start(): void {
    this.#wire.onData = (chunk) => this.onData(chunk, 0, chunk.length)
    const early = this.#early
    this.#early = Buffer.alloc(0)
    if (early.length > 0) this.onData(early, 0, early.length)
    if (this.#wire.ended) this.#wire.finish()
    else this.#wire.resume()
  }

  close(): void {
    if (this.#closed) return
    this.flush()
    this.#wire.finish()
  }

  destroy(error: KithError): void {
    if (!this.#closed) this.#wire.destroy(error)
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    process.nextTick(() => this.#scheduled && this.flush())
  }

  /** The staging buffer goes with what is in it; a copy, when that is little. */
  #ship(): void {
    if (this.#used === 0) return
    const used = this.staging.subarray(0, this.#used)
    this.#used = 0
    if (used.length <= SMALL_BYTES) this.#send(Buffer.from(used))
    else {
      this.staging = Buffer.alloc(0)
      this.#send(used)
    }
  }

  #send(bytes: Buffer): void {
    this.#inFlight += bytes.length
    this.#turn += bytes.length
    if (this.#turn >= TURN_BYTES && !this.#spent) {
      this.#spent = true
      setImmediate(() => {
        this.#turn = 0
        this.#spent = false
        this.#settle()
      })
    }
    if (this.#inFlight > IN_FLIGHT_LIMIT || this.#spent) this.#blocked = true
    this.#wire.write(bytes, () => {
      this.#inFlight -= bytes.length
      this.#settle()
    })
  }

  #settle(): void {
    if (!this.#blocked || this.#spent || this.#inFlight > IN_FLIGHT_LOW || this.#closed) return
    this.#blocked = false
    this.onDrain()
  }

  #ended(error: KithError | null): void {
    if (this.#closed) return
    this.#closed = true
    this.onClose(error)
  }
}
