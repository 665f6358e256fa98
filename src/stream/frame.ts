import { varintSize } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { borrowBuffer, POOLED_BYTES, readBuffer, returnBuffer } from './buffers.ts'

/**
 * # Frames
 *
 * Everything on the wire is `varint(length) | payload`, the varint canonical and of at most 32 bits.
 *
 * The reader parses frames where the bytes lie: in the buffer of the read, as long as that ends with a whole frame. Only a partial frame is moved, to a
 * buffer of its own behind which the next reads go until nothing is left over.
 *
 * ```text
 * shared read buffer  | frame | frame | fra          private buffer  | fra|me | frame |
 *                                       '---- copied ------------------^   ^--- next read goes here
 * ```
 */

/** Least room offered to a read. */
const MIN_READ_BYTES = 16_384
/** While held, reading goes on up to here: a short hold costs no system call and an end of the stream is noticed. */
const MAX_HELD_BYTES = 65_536
/** Held bytes are few and soon gone: they get memory of their own size, in steps of this. */
const HELD_STEP_BYTES = 1_024

const INCOMPLETE = -1
const INVALID = -2

/** Writes the length before a payload; returns where the payload starts. */
export function writePrefix(target: Uint8Array, at: number, length: number): number {
  let rest = length
  let to = at
  while (rest > 0x7f) {
    target[to++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[to++] = rest
  return to
}

/** `varint(length) | payload` as one new buffer. */
export function frame(payload: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(varintSize(payload.length) + payload.length)
  out.set(payload, writePrefix(out, 0, payload.length))
  return out
}

/** The length at `at`, or why there is none: `INCOMPLETE`, `INVALID`. Its size is `varintSize` of it, since it is canonical. */
function readPrefix(buffer: Uint8Array, at: number, end: number): number {
  let value = 0
  // Multiplied on: a power would be computed in floating point, twice for each record.
  let weight = 1
  for (let group = 0; group < 5; group++) {
    if (at + group >= end) return INCOMPLETE
    const byte = buffer[at + group] as number
    if (byte === 0 && group > 0) return INVALID
    if (group === 4 && byte > 0x0f) return INVALID
    value += (byte & 0x7f) * weight
    if (byte < 0x80) return value
    weight *= 0x80
  }
  return INVALID
}

export class FrameReader {
  /** Largest payload taken; checked as soon as its length is known, before any of it is waited for. May change between frames. */
  limit = 0
  /**
   * A whole payload, valid only during the call and free to be overwritten. False holds: nothing more is handed out until `resume`.
   * Must not throw.
   */
  onFrame: (buffer: Buffer, start: number, end: number) => boolean = () => false
  /** The bytes are not frames, or one is too large. Nothing more is handed out. */
  onViolation: (error: KithError) => void = () => undefined
  /** Asks the source to stop and start. */
  onPause: (paused: boolean) => void = () => undefined

  #kept: Buffer | undefined
  #from = 0
  #to = 0
  /** The part of `#kept` that the source was told to read into next: while it is out, `#kept` may be neither moved nor given away. */
  #tail: Buffer | undefined
  #needed = 0
  #held = false
  #busy = false
  #paused = false
  #stopped = false
  /** What arrived while a payload was being handed out; only sources that are not sockets call so deep. */
  #waiting: Buffer[] = []

  get held(): boolean {
    return this.#held
  }

  /** Whether bytes are waiting: part of a frame, or whole ones while held. */
  get partial(): boolean {
    return this.#to > this.#from
  }

  /**
   * Where a source that reads into given memory shall read next. Asked after each `feed`. While held that is the shared buffer, although what comes is copied then:
   * once `resume` has handed everything out, the source would otherwise still point into private memory, and an idle link would keep it.
   */
  target(): Buffer {
    this.#tail = undefined
    if (this.#kept === undefined || this.#held) return readBuffer()
    if (this.#to === this.#from) {
      this.#discard()
      return readBuffer()
    }
    this.#makeRoom(MIN_READ_BYTES)
    this.#tail = this.#kept.subarray(this.#to)
    return this.#tail
  }

  /** Takes `buffer[start, end)`. What is not a whole frame is copied: the caller may reuse its memory on return. */
  feed(buffer: Buffer, start: number, end: number): void {
    if (this.#stopped) return
    if (this.#busy) {
      this.#waiting.push(Buffer.from(buffer.subarray(start, end)))
      return
    }
    if (buffer === this.#tail && this.#kept !== undefined) {
      const at = buffer.byteOffset - this.#kept.byteOffset
      if (this.#to === this.#from) this.#from = at + start
      this.#to = at + end
      this.#drain()
    } else if (this.#kept !== undefined && this.#to > this.#from) {
      this.#append(buffer, start, end)
      this.#drain()
    } else {
      const at = this.#parse(buffer, start, end)
      if (at < end && !this.#stopped) this.#append(buffer, at, end)
    }
    this.#takeWaiting()
    if (this.#held && !this.#paused && this.#to - this.#from > MAX_HELD_BYTES) this.#pause(true)
  }

  hold(): void {
    this.#held = true
  }

  resume(): void {
    if (!this.#held || this.#stopped) return
    this.#held = false
    if (this.#busy) return
    this.#drain()
    this.#takeWaiting()
    if (!this.#held && this.#paused) this.#pause(false)
  }

  /** Hands out nothing more and lets go of all memory. */
  stop(): void {
    this.#stopped = true
    this.#waiting = []
    if (!this.#busy) this.#discard()
  }

  #pause(paused: boolean): void {
    this.#paused = paused
    this.onPause(paused)
  }

  #takeWaiting(): void {
    for (let next = this.#waiting.shift(); next !== undefined && !this.#stopped; next = this.#waiting.shift()) {
      this.#append(next, 0, next.length)
      this.#drain()
    }
  }

  /** Parses what is kept. */
  #drain(): void {
    if (this.#kept === undefined || this.#to === this.#from) return
    this.#from = this.#parse(this.#kept, this.#from, this.#to)
    if (this.#stopped || this.#to === this.#from) this.#discard()
  }

  /** Hands out whole frames of `buffer[start, end)` until held; returns where the rest begins. */
  #parse(buffer: Buffer, start: number, end: number): number {
    let at = start
    this.#busy = true
    while (at < end && !this.#held && !this.#stopped) {
      const length = readPrefix(buffer, at, end)
      if (length === INCOMPLETE) {
        this.#needed = 5
        break
      }
      if (length === INVALID) {
        this.#violation(new KithError('STREAM_CORRUPT', 'the length of a frame is malformed'))
        break
      }
      if (length > this.limit) {
        this.#violation(new KithError('FRAME_TOO_LARGE', undefined, { details: { length, limit: this.limit } }))
        break
      }
      const body = at + varintSize(length)
      if (end - body < length) {
        this.#needed = body - at + length
        break
      }
      at = body + length
      if (!this.onFrame(buffer, body, at)) this.#held = true
    }
    this.#busy = false
    return at
  }

  #violation(error: KithError): void {
    this.#stopped = true
    this.onViolation(error)
  }

  #append(buffer: Buffer, start: number, end: number): void {
    const length = end - start
    if (this.#kept === undefined || this.#to === this.#from) {
      this.#discard()
      this.#from = 0
      this.#to = 0
      this.#kept = allocate(Math.max(length, this.#held ? 0 : Math.min(this.#needed, POOLED_BYTES - MIN_READ_BYTES)), this.#held)
    }
    this.#makeRoom(length)
    const kept = this.#kept
    buffer.copy(kept, this.#to, start, end)
    this.#to += length
  }

  /** Room for `length` more bytes behind what is kept: by moving it to the front, else by a larger buffer, at most doubled at a time. */
  #makeRoom(length: number): void {
    const kept = this.#kept as Buffer
    const used = this.#to - this.#from
    if (kept.length - this.#to >= length) return
    if (kept.length - used >= length && this.#tail === undefined) {
      kept.copyWithin(0, this.#from, this.#to)
    } else {
      const grown = this.#held
        ? allocate(Math.max(used + length, 2 * kept.length), true)
        : allocate(Math.max(used + length, Math.min(this.#needed + MIN_READ_BYTES, 2 * kept.length)), false)
      kept.copy(grown, 0, this.#from, this.#to)
      this.#release(kept)
      this.#kept = grown
    }
    this.#from = 0
    this.#to = used
  }

  /** Lets go of an emptied buffer, unless the source still points into it. */
  #discard(): void {
    if (this.#kept === undefined) return
    if (this.#tail !== undefined && !this.#stopped) {
      this.#from = this.#to
      return
    }
    this.#release(this.#kept)
    this.#kept = undefined
    this.#from = 0
    this.#to = 0
  }

  #release(kept: Buffer): void {
    if (kept.length === POOLED_BYTES && this.#tail === undefined) returnBuffer(kept)
    this.#tail = undefined
  }
}

function allocate(length: number, held: boolean): Buffer {
  if (held) return Buffer.allocUnsafeSlow(Math.ceil(length / HELD_STEP_BYTES) * HELD_STEP_BYTES)
  return length + MIN_READ_BYTES <= POOLED_BYTES ? borrowBuffer() : Buffer.allocUnsafeSlow(length + MIN_READ_BYTES)
}
