import { KithError } from '../../core/errors.ts'

/**
 * # `icn/msg/1`: live messages on a link
 *
 * ```text
 * stream = frame*            frame = u32 length || envelope (PN-7, class 1)
 * ```
 *
 * One stream in each direction for as long as the connection lasts; each carries frames one way, and the receiver ends its own half at once. Credit is the
 * multiplexer's window: whoever receives gives it back as the messages before are handled. Nothing is answered; a message is delivered at most once.
 */
export const LIVE_PROTOCOL = 'icn/msg/1'
const HEAD_BYTES = 4

/** Envelopes as one piece of the stream. */
export function framed(envelopes: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const envelope of envelopes) length += HEAD_BYTES + envelope.length
  const out = new Uint8Array(length)
  let at = 0
  for (const envelope of envelopes) {
    out[at] = envelope.length >>> 24
    out[at + 1] = (envelope.length >>> 16) & 0xff
    out[at + 2] = (envelope.length >>> 8) & 0xff
    out[at + 3] = envelope.length & 0xff
    out.set(envelope, at + HEAD_BYTES)
    at += HEAD_BYTES + envelope.length
  }
  return out
}

/** Cuts what arrives into frames; each becomes memory of its own, which handlers may keep. */
export class FrameReader {
  readonly #limit: () => number
  #head = 0
  #headBytes = 0
  #frame: Uint8Array | undefined
  #filled = 0

  /** @param limit longest frame that is taken at the moment. */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  /** Whether a frame has begun and not ended. */
  get open(): boolean {
    return this.#headBytes > 0
  }

  /** Hands on every frame that is whole now. @throws KithError `MESSAGE_TOO_LARGE` before anything of such a frame is held. */
  push(data: Uint8Array, start: number, end: number, onFrame: (frame: Uint8Array) => void): void {
    let at = start
    while (at < end) {
      if (this.#frame === undefined) {
        this.#head = this.#head * 256 + (data[at++] as number)
        if (++this.#headBytes < HEAD_BYTES) continue
        const limit = this.#limit()
        if (this.#head > limit) throw new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length: this.#head, limit } })
        this.#frame = new Uint8Array(this.#head)
        this.#filled = 0
      }
      const count = Math.min(end - at, this.#frame.length - this.#filled)
      this.#frame.set(data.subarray(at, at + count), this.#filled)
      this.#filled += count
      at += count
      if (this.#filled < this.#frame.length) continue
      const frame = this.#frame
      this.#frame = undefined
      this.#head = 0
      this.#headBytes = 0
      onFrame(frame)
    }
  }
}
