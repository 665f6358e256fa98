import { Duplex } from 'node:stream'
import { IN_FLIGHT_BYTES, type WireEnd, wireLost } from './wire.ts'

/** A wire as a socket would look: the bytes that an encrypted stream runs over. Takes the wire over. */
export class WireDuplex extends Duplex {
  readonly #wire: WireEnd
  #written: (() => void) | null = null

  constructor(wire: WireEnd) {
    super({ allowHalfOpen: true })
    this.#wire = wire
    this.on('error', () => {})
    wire.onParcel = (bytes) => {
      if (!this.push(bytes)) wire.pause()
    }
    wire.onDrain = () => this.#drained()
    wire.onEnd = (error) => {
      if (error === null) this.push(null)
      else this.destroy(error)
    }
  }

  override _read(): void {
    this.#wire.resume()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#wire.send(Buffer.from(chunk))
    if (this.#wire.inFlight <= IN_FLIGHT_BYTES) done()
    else this.#written = done
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#wire.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#drained()
    this.#wire.destroy(wireLost())
    done(error)
  }

  #drained(): void {
    const written = this.#written
    this.#written = null
    written?.()
  }
}
