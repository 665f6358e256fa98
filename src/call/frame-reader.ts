import { malformed } from '../core/codec.ts'
import { HEAD_BYTES, MAX_FRAME_BYTES } from './frames.ts'

/** Gets frames one by one, valid during the call: `data[at..end]` is the body. */
export type OnFrame = (kind: number, call: number, data: Buffer, at: number, end: number) => void

/** Cuts what arrives into frames. A frame that lies whole in one piece is read where it lies; only what is cut is copied. */
export class FrameReader {
  readonly #onFrame: OnFrame
  /** A frame that has begun, its length included; grown once, when its length is known and allowed. */
  #partial: Buffer | undefined
  #filled = 0
  readonly #head: Buffer = Buffer.alloc(4)

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame
  }

  /** Whether the last frame is not whole. */
  get open(): boolean {
    return this.#filled > 0
  }

  /** @throws KithError `WIRE_MALFORMED` for a length that no frame has, before anything of it is held; and what the frames' owner throws. */
  push(data: Buffer, start: number, end: number): void {
    let at = this.#filled > 0 ? this.#complete(data, start, end) : start
    while (end - at >= 4) {
      const length = lengthAt(data, at)
      if (end - at - 4 < length) break
      this.#give(data, at + 4, at + 4 + length)
      at += 4 + length
    }
    if (at < end) this.#keep(data, at, end)
  }

  #give(data: Buffer, at: number, end: number): void {
    const call = (data[at + 1] as number) * 0x100_0000 + (((data[at + 2] as number) << 16) | ((data[at + 3] as number) << 8) | (data[at + 4] as number))
    this.#onFrame(data[at] as number, call, data, at + HEAD_BYTES, end)
  }

  /** Goes on with the frame that was cut; returns where the rest begins. */
  #complete(data: Buffer, start: number, end: number): number {
    let at = start
    if (this.#partial === undefined) {
      while (this.#filled < 4 && at < end) this.#head[this.#filled++] = data[at++] as number
      if (this.#filled < 4) return at
      this.#partial = Buffer.allocUnsafe(lengthAt(this.#head, 0))
    }
    const count = Math.min(end - at, this.#partial.length + 4 - this.#filled)
    data.copy(this.#partial, this.#filled - 4, at, at + count)
    this.#filled += count
    if (this.#filled < this.#partial.length + 4) return at + count
    const whole = this.#partial
    this.#partial = undefined
    this.#filled = 0
    this.#give(whole, 0, whole.length)
    return at + count
  }

  #keep(data: Buffer, start: number, end: number): void {
    if (end - start >= 4) {
      this.#partial = Buffer.allocUnsafe(lengthAt(data, start))
      data.copy(this.#partial, 0, start + 4, end)
    } else data.copy(this.#head, 0, start, end)
    this.#filled = end - start
  }
}

function lengthAt(data: Buffer, at: number): number {
  const length = (data[at] as number) * 0x100_0000 + (((data[at + 1] as number) << 16) | ((data[at + 2] as number) << 8) | (data[at + 3] as number))
  if (length < HEAD_BYTES || length > MAX_FRAME_BYTES) throw malformed('length of a frame', { length })
  return length
}
