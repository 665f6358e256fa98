import type { KithError } from '../../core/errors.ts'
import { StagedPipe } from '../staged-pipe.ts'
import type { SocketWire } from './socket-wire.ts'

const IN_FLIGHT_LIMIT = 524_288
const IN_FLIGHT_LOW = 262_144
/** Write callbacks of a fast socket follow each other without the loop ever reading, so after this much it gets its turn. */
const TURN_BYTES = 1_048_576

/** A TLS connection as the multiplexer sees it: what is written in one turn leaves together at its end. Takes the wire over. */
export class SocketPipe extends StagedPipe {
  readonly #wire: SocketWire
  #early: Buffer
  #inFlight = 0
  #turn = 0
  #spent = false
  #blocked = false

  /** `early`: what arrived behind the last message of the preface. */
  constructor(wire: SocketWire, early: Buffer) {
    super()
    this.#wire = wire
    this.#early = early
    wire.onEnd = () => wire.finish()
    wire.onClose = (error) => this.end(error)
    if (wire.closed) queueMicrotask(() => this.end(wire.outcome))
  }

  get blocked(): boolean {
    return this.#blocked
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
    if (this.closed) return
    this.flush()
    this.#wire.finish()
  }

  destroy(error: KithError): void {
    if (!this.closed) this.#wire.destroy(error)
  }

  protected send(bytes: Buffer): void {
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
    if (!this.#blocked || this.#spent || this.#inFlight > IN_FLIGHT_LOW || this.closed) return
    this.#blocked = false
    this.onDrain()
  }
}
