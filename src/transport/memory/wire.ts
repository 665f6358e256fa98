import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { Fifo } from '../mux/fifo.ts'

/** How bytes travel between two ends right now; asked for every write, so that a test or a simulation may change it at any time. */
export interface Travel {
  /** One way, ms. 0 delivers in the next turn of the event loop. */
  latencyMs(): number
  /** While true nothing arrives; what was sent waits, as behind a router that is down. */
  cut(): boolean
}

interface Parcel {
  /** Null: the end of the direction. */
  readonly bytes: Buffer | null
  readonly due: number
}

/** Sent and not yet taken by the other side, above which a sender should wait. */
export const IN_FLIGHT_BYTES: number = 512 * 1024

/**
 * One end of an in-process wire: ordered parcels of bytes, delivered late, one by one, and only while the receiver takes them.
 */
export class WireEnd {
  /** Set by the owner before `resume`. */
  onParcel: (bytes: Buffer) => void = () => {}
  onDrain: () => void = () => {}
  /** Once: null after the other side's end, the reason otherwise. */
  onEnd: (error: KithError | null) => void = () => {}
  /** The same moment, for whoever keeps a list of wires. */
  onOver: () => void = () => {}
  inFlight = 0

  readonly #clock: Clock
  readonly #travel: Travel
  /** Itself until paired. */
  #peer: WireEnd = this
  readonly #parcels = new Fifo<Parcel>()
  #taking = false
  #timer: Timer | null = null
  #immediate: NodeJS.Immediate | null = null
  #lastDue = 0
  #over = false
  /** We have ended our direction; the other side has ended its own. */
  #ended = false
  #inEnded = false

  constructor(clock: Clock, travel: Travel) {
    this.#clock = clock
    this.#travel = travel
  }

  static pair(clock: Clock, travel: Travel): [WireEnd, WireEnd] {
    const a = new WireEnd(clock, travel)
    const b = new WireEnd(clock, travel)
    a.#peer = b
    b.#peer = a
    return [a, b]
  }

  /** `bytes` belong to the wire from here on. */
  send(bytes: Buffer): void {
    if (this.#ended || this.#over) return
    this.inFlight += bytes.length
    this.#peer.#enqueue(bytes)
  }

  /** Nothing more will be sent; the other side learns it behind everything sent. */
  end(): void {
    if (this.#ended || this.#over) return
    this.#ended = true
    this.#peer.#enqueue(null)
    if (this.#inEnded) this.#finish(null)
  }

  /** Breaks the wire at both ends, at once. */
  break(error: KithError): void {
    const peer = this.#peer
    this.#finish(error)
    peer.#finish(error)
  }

  /** This end goes away; the other learns it as soon as bytes can travel, and gets what was sent before. */
  destroy(error: KithError): void {
    this.end()
    this.#finish(error)
  }

  /** Parcels are handed out from here on. */
  resume(): void {
    this.#taking = true
    this.wake()
  }

  /** Keeps parcels on the wire; the sender notices by its bytes in flight. */
  pause(): void {
    this.#taking = false
  }

  /** Looks again whether something can be delivered: after a cut was mended. */
  wake(): void {
    if (this.#over || !this.#taking || this.#timer !== null || this.#immediate !== null) return
    const next = this.#parcels.peek()
    if (next === undefined || this.#travel.cut()) return
    const wait = next.due - this.#clock.monotonic()
    if (wait > 0) {
      this.#timer = this.#clock.after(wait, () => {
        this.#timer = null
        this.#deliver()
      })
    } else {
      this.#immediate = setImmediate(() => {
        this.#immediate = null
        this.#deliver()
      })
    }
  }

  #enqueue(bytes: Buffer | null): void {
    if (this.#over) return
    this.#lastDue = Math.max(this.#lastDue, this.#clock.monotonic() + this.#travel.latencyMs())
    this.#parcels.push({ bytes, due: this.#lastDue })
    this.wake()
  }

  /** Everything that is due, up to what one read of a socket would give. */
  #deliver(): void {
    let given = 0
    while (this.#taking && !this.#over && !this.#travel.cut() && given < IN_FLIGHT_BYTES) {
      const next = this.#parcels.peek()
      if (next === undefined || next.due > this.#clock.monotonic()) break
      this.#parcels.shift()
      if (next.bytes === null) {
        this.#endIn()
        return
      }
      given += next.bytes.length
      const { length } = next.bytes
      this.onParcel(next.bytes)
      this.#peer.#taken(length)
    }
    this.wake()
  }

  #taken(length: number): void {
    const before = this.inFlight
    this.inFlight -= length
    const mark = IN_FLIGHT_BYTES / 2
    if (!this.#over && before > mark && this.inFlight <= mark) this.onDrain()
  }

  #endIn(): void {
    this.#inEnded = true
    this.onEnd(null)
    if (this.#ended) this.#finish(null)
  }

  #finish(error: KithError | null): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.cancel()
    if (this.#immediate !== null) clearImmediate(this.#immediate)
    this.#parcels.clear()
    this.onOver()
    if (!this.#inEnded) this.onEnd(error)
  }
}

/** What a broken wire reports. */
export function wireLost(): KithError {
  return new KithError('LINK_LOST', 'The connection was cut.')
}
