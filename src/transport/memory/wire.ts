import type { Clock, Timer } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { Fifo } from '../mux/fifo.ts'

/** How bytes reach one end of a wire; asked for every write, so that a test or a simulation may change it at any time. */
export interface Travel {
  /** The network's time. A timer of 0 ms fires in the next turn of the event loop. */
  readonly clock: Pick<Clock, 'monotonic' | 'after'>
  /** Ms until so many bytes that leave now are here. Infinity: never, nor what is sent behind them. */
  travelMs(bytes: number): number
  /** False while nothing arrives: what was sent waits, as behind a router that is down. */
  passes(): boolean
  /** Ms after which what did not pass is sent again, for the `attempt`th time from 0. Infinity: when the wire is woken. */
  againMs(attempt: number): number
  /** Whether the machine at this end tells others that a connection is gone. */
  answers(): boolean
  /** A parcel is here. */
  arrived(bytes: number): void
}

interface Parcel {
  /** Null: the end of the direction, or of the wire. */
  readonly bytes: Buffer | null
  readonly reset: boolean
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

  readonly #travel: Travel
  /** Itself until paired. */
  #peer: WireEnd = this
  readonly #parcels = new Fifo<Parcel>()
  #taking = false
  #timer: Timer | null = null
  #lastDue = 0
  /** Times that the first parcel found the way closed. */
  #attempts = 0
  #over = false
  /** Our machine went away without a word. */
  #vanished = false
  /** We have ended our direction; the other side has ended its own. */
  #ended = false
  #inEnded = false

  constructor(travel: Travel) {
    this.#travel = travel
  }

  /** Each end with the way that leads to it. */
  static pair(toFirst: Travel, toSecond: Travel): [WireEnd, WireEnd] {
    const first = new WireEnd(toFirst)
    const second = new WireEnd(toSecond)
    first.#peer = second
    second.#peer = first
    return [first, second]
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

  /** The machine of this end is gone: its owner hears nothing any more. With `reset` the other side learns it as soon as bytes can travel. */
  vanish(reset: boolean): void {
    if (this.#over) return
    this.#vanished = true
    this.#inEnded = true
    this.#finish(null)
    if (reset) this.#peer.#enqueue(null, true)
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
    if (this.#over || !this.#taking || this.#timer !== null) return
    const next = this.#parcels.peek()
    if (next !== undefined) this.#wait(next.due - this.#travel.clock.monotonic())
  }

  #wait(ms: number): void {
    if (ms === Number.POSITIVE_INFINITY) return
    this.#timer = this.#travel.clock.after(Math.max(0, ms), () => {
      this.#timer = null
      this.#deliver()
    })
  }

  #enqueue(bytes: Buffer | null, reset = false): void {
    if (this.#over) {
      if (this.#vanished && !reset && this.#travel.answers()) this.#peer.#enqueue(null, true)
      return
    }
    this.#lastDue = Math.max(this.#lastDue, this.#travel.clock.monotonic() + this.#travel.travelMs(bytes?.length ?? 0))
    this.#parcels.push({ bytes, reset, due: this.#lastDue })
    this.wake()
  }

  /** Everything that is due, up to what one read of a socket would give. */
  #deliver(): void {
    let given = 0
    while (this.#taking && !this.#over && given < IN_FLIGHT_BYTES) {
      const next = this.#parcels.peek()
      if (next === undefined || next.due > this.#travel.clock.monotonic()) break
      if (!this.#travel.passes()) {
        this.#wait(this.#travel.againMs(this.#attempts++))
        return
      }
      this.#attempts = 0
      this.#parcels.shift()
      this.#travel.arrived(next.bytes?.length ?? 0)
      given += this.#handOver(next)
    }
    this.wake()
  }

  #handOver({ bytes, reset }: Parcel): number {
    if (reset) this.#finish(wireLost())
    else if (bytes === null) this.#endIn()
    else {
      const { length } = bytes
      this.onParcel(bytes)
      this.#peer.#taken(length)
      return length
    }
    return 0
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
    this.#parcels.clear()
    this.onOver()
    if (!this.#inEnded) this.onEnd(error)
  }
}

/** What a broken wire reports. */
export function wireLost(): KithError {
  return new KithError('LINK_LOST', 'The connection was cut.')
}
