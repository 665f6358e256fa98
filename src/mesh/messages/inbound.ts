import { isKithError, KithError } from '../../core/errors.ts'
import type { LinkStream } from '../../transport/types.ts'
import { MAX_ENVELOPE_BYTES } from './envelope.ts'
import { FrameReader } from './live-frames.ts'

/** Bytes of messages that wait or are being handled, beyond which no more credit is given. */
const HELD_BYTES: number = 256 * 1024
const nothing = (): void => {}

export interface InboundComponents {
  /** Longest envelope of this peer at the moment. */
  readonly limit: () => number
  /** Handles one frame; `done` once, when it needs no more room. */
  readonly deliver: (frame: Uint8Array, done: () => void) => void
  /** A frame longer than any envelope: no correct node sends one. */
  readonly onMalformed: (error: KithError) => void
  readonly onClose: () => void
}

/** A peer's live messages on one connection. Bytes are given back to the stream while little enough is held here. */
export class Inbound {
  readonly #stream: LinkStream
  readonly #components: InboundComponents
  readonly #reader: FrameReader
  #held = 0
  #owed = 0
  #ended = false

  constructor(stream: LinkStream, components: InboundComponents) {
    this.#stream = stream
    this.#components = components
    this.#reader = new FrameReader(components.limit)
    stream.end()
    stream.onData = (data, start, end) => this.#receive(data, start, end)
    stream.onEnd = () => {
      if (this.#reader.open) this.reset(new KithError('WIRE_MALFORMED', 'the stream ended inside a message'))
    }
    stream.onError = nothing
    stream.onClose = () => {
      this.#ended = true
      components.onClose()
    }
  }

  reset(error: KithError): void {
    if (this.#ended) return
    this.#ended = true
    this.#stream.reset(error.number)
  }

  #receive(data: Uint8Array, start: number, end: number): void {
    this.#owed += end - start
    if (!this.#ended) {
      try {
        this.#reader.push(data, start, end, (frame) => this.#take(frame))
      } catch (error) {
        if (!isKithError(error)) throw error
        if (Number(error.details.length) > MAX_ENVELOPE_BYTES) this.#components.onMalformed(error)
        this.reset(error)
      }
    }
    this.#giveBack()
  }

  #take(frame: Uint8Array): void {
    let open = true
    this.#held += frame.length
    this.#components.deliver(frame, () => {
      if (!open) return
      open = false
      this.#held -= frame.length
      this.#giveBack()
    })
  }

  /** Never waits for more than what is held to be handled, so a frame larger than the window arrives too. */
  #giveBack(): void {
    if (this.#owed === 0 || this.#held > HELD_BYTES) return
    const owed = this.#owed
    this.#owed = 0
    this.#stream.consume(owed)
  }
}
