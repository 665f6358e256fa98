import { nextTick } from 'node:process'
import type { LinkStream } from '../transport/types.ts'
import { HEAD_BYTES, writeU32 } from './frames.ts'

/** Frames of one turn are joined up to here, then begin a new buffer. */
const BUFFER_BYTES: number = 128 * 1024
/** Buffers that wait to be used again, all streams together. */
const KEPT_BUFFERS = 16
const kept: Buffer[] = []

/** Something that has more to say than goes at once: takes turns with the others. */
export interface Talker {
  /** Writes one piece. False: it has nothing more that may go now, and comes back by itself. */
  talk(): boolean
}

/**
 * Frames on their way out: everything that is said in one turn of the event loop leaves in one write. While the stream is full, frames wait here and long payloads
 * are not begun; `onRoom` tells when it goes on.
 */
export class Outbox {
  /** Where the next frame is written: `reserve` first. */
  buffer: Buffer = Buffer.alloc(0)
  at = 0
  /** The stream takes no more at the moment. */
  full = false
  onRoom: () => void = nothing
  readonly #stream: LinkStream
  /** Whole buffers before the present one. */
  readonly #filled: { readonly buffer: Buffer; readonly length: number }[] = []
  readonly #talkers: Talker[] = []
  #scheduled = false
  #closed = false

  constructor(stream: LinkStream) {
    this.#stream = stream
    stream.onDrain = () => {
      this.full = false
      this.#flush()
      if (!this.full) this.onRoom()
    }
  }

  /** Makes room for so many bytes at `at`. */
  reserve(bytes: number): void {
    if (this.buffer.length - this.at >= bytes) return
    if (this.at > 0) this.#filled.push({ buffer: this.buffer, length: this.at })
    this.buffer = bytes <= BUFFER_BYTES ? (kept.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES)) : Buffer.allocUnsafeSlow(bytes)
    this.at = 0
  }

  /** Begins a frame; the body is written from `at` on, which the caller moves. Returns what `close` wants. */
  open(kind: number, call: number): number {
    const start = this.at
    this.buffer[start + 4] = kind
    this.at = writeU32(this.buffer, start + 5, call)
    return start
  }

  /** Ends the frame that began at `start`. */
  close(start: number): void {
    writeU32(this.buffer, start, this.at - start - 4)
    this.#schedule()
  }

  /** A frame without a body, or with one number. */
  small(kind: number, call: number, value?: number, width: 1 | 4 = 1): void {
    if (this.#closed) return
    this.reserve(4 + HEAD_BYTES + 4)
    const start = this.open(kind, call)
    if (value !== undefined) {
      if (width === 4) this.at = writeU32(this.buffer, this.at, value)
      else this.buffer[this.at++] = value
    }
    this.close(start)
  }

  /** It is asked to talk when it is its turn. */
  join(talker: Talker): void {
    this.#talkers.push(talker)
    this.#schedule()
  }

  /** What was said leaves; then the stream ends on this side. */
  end(): void {
    this.#flush()
    this.#stream.end()
    this.drop()
  }

  /** The stream is gone. */
  drop(): void {
    if (this.#closed) return
    this.#closed = true
    this.#filled.length = 0
    this.#talkers.length = 0
    this.#giveBack()
  }

  #schedule(): void {
    if (this.#scheduled || this.full) return
    this.#scheduled = true
    // Behind every promise that is settled in this turn, so that what they have to say goes along.
    nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    if (this.#closed || this.full) return
    this.#write()
    while (!this.full && this.#talkers.length > 0) {
      const talker = this.#talkers.shift() as Talker
      if (talker.talk()) this.#talkers.push(talker)
      if (this.#filled.length > 0) this.#write()
    }
    this.#write()
  }

  #write(): void {
    while (this.#filled.length > 0 && !this.full) {
      const { buffer, length } = this.#filled.shift() as { buffer: Buffer; length: number }
      if (!this.#stream.write(buffer, 0, length)) this.full = true
      keep(buffer)
    }
    if (this.full || this.at === 0 || this.#closed) return
    if (!this.#stream.write(this.buffer, 0, this.at)) this.full = true
    this.at = 0
    this.#giveBack()
  }

  #giveBack(): void {
    keep(this.buffer)
    this.buffer = NO_BUFFER
    this.at = 0
  }
}

const NO_BUFFER: Buffer = Buffer.alloc(0)
const nothing = (): void => {}

function keep(buffer: Buffer): void {
  if (buffer.length === BUFFER_BYTES && kept.length < KEPT_BUFFERS) kept.push(buffer)
}
