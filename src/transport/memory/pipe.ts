import type { KithError } from '../../core/errors.ts'
import { StagedPipe } from '../staged-pipe.ts'
import { IN_FLIGHT_BYTES, type WireEnd } from './wire.ts'

/** A wire as the multiplexer sees it: staged during a turn, sent at its end. Takes the wire over. */
export class WirePipe extends StagedPipe {
  readonly #wire: WireEnd
  #wasBlocked = false

  constructor(wire: WireEnd) {
    super()
    this.#wire = wire
    wire.onParcel = (bytes) => this.closed || this.onData(bytes, 0, bytes.length)
    wire.onDrain = () => this.#drained()
    wire.onEnd = (error) => {
      wire.end()
      this.end(error)
    }
  }

  get blocked(): boolean {
    const blocked = this.#wire.inFlight + this.used > IN_FLIGHT_BYTES
    if (blocked) this.#wasBlocked = true
    return blocked
  }

  override flush(): void {
    super.flush()
    if (this.#wasBlocked && !this.closed && !this.blocked) this.#drained()
  }

  start(): void {
    this.#wire.resume()
  }

  close(): void {
    if (this.closing || this.closed) return
    this.closing = true
    this.flush()
    this.#wire.end()
    queueMicrotask(() => this.end(null))
  }

  destroy(error: KithError): void {
    if (this.closed) return
    this.closing = true
    this.#wire.destroy(error)
  }

  protected send(bytes: Buffer): void {
    this.#wire.send(bytes)
  }

  #drained(): void {
    if (this.closed) return
    this.#wasBlocked = false
    this.onDrain()
  }
}
