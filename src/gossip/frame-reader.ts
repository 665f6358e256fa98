import { malformed } from '../core/codec.ts'
import type { KithError } from '../core/errors.ts'
import { JoinedBytes } from '../core/joined-bytes.ts'
import type { LinkStream } from '../transport/types.ts'
import { frameLimit } from './wire.ts'

export interface FrameReaderHooks {
  /** Whether a frame of this kind and length is wanted; what is not is passed over without being kept. */
  wants(kind: number, length: number): boolean
  /** Kind and body; valid only during the call. */
  frame(bytes: Uint8Array): void
  /** Nothing more can be read from this stream. */
  fault(error: KithError): void
  /** Whether to look at the next frame now. What has come already waits otherwise; `resume` goes on. */
  ready(): boolean
}

const HEADER_BYTES = 5

/**
 * Cuts what arrives into frames. Nothing is allocated by the length a frame claims. While the owner is not ready not one frame more is looked at: what has come waits, which
 * is at most the stream's window, and credit is given back for what was read.
 */
export class FrameReader {
  readonly #stream: LinkStream
  readonly #hooks: FrameReaderHooks
  readonly #header: number[] = []
  /** Of the frame under way: what is still to come, and what came. */
  #left = 0
  #body: JoinedBytes | undefined
  /** What came and was not looked at yet, in front of what came behind it. */
  #rest: Buffer | undefined
  #waiting: JoinedBytes = new JoinedBytes()
  #reading = false
  #onEmpty: (() => void) | undefined
  #over = false

  constructor(stream: LinkStream, hooks: FrameReaderHooks) {
    this.#stream = stream
    this.#hooks = hooks
    stream.onData = (data, start, end) => {
      if (this.#over) return
      const at = this.#idle && hooks.ready() ? this.#read(data, start, end) : start
      if (at < end && !this.#over) this.#waiting.append(data, at, end)
    }
  }

  /** Goes on with what waits, as far as the owner is ready. */
  resume(): void {
    while (!this.#reading && !this.#over && this.#hooks.ready()) {
      const piece = this.#rest ?? this.#waiting.take()
      if (piece === undefined) {
        this.#onEmpty?.()
        return
      }
      const at = this.#read(piece, 0, piece.length)
      this.#rest = at < piece.length ? piece.subarray(at) : undefined
    }
  }

  /** Nothing more will come: calls back when everything was looked at. */
  ended(done: () => void): void {
    this.#onEmpty = done
    this.resume()
  }

  close(): void {
    this.#over = true
    this.#body = undefined
    this.#rest = undefined
    this.#waiting.clear()
  }

  get #idle(): boolean {
    return !this.#reading && this.#rest === undefined && this.#waiting.length === 0
  }

  /** Looks at frames and gives credit back for them. @returns how far it came. */
  #read(data: Buffer, start: number, end: number): number {
    this.#reading = true
    let at = start
    try {
      at = this.#take(data, start, end)
    } finally {
      this.#reading = false
    }
    if (!this.#over) this.#stream.consume(at - start)
    return at
  }

  #take(data: Buffer, start: number, end: number): number {
    let at = start
    while (at < end && !this.#over) {
      if (this.#left > 0) {
        const length = Math.min(this.#left, end - at)
        this.#left -= length
        if (this.#body !== undefined) this.#collect(this.#body, data, at, at + length)
        at += length
        if (this.#left === 0 && !this.#hooks.ready()) return at
        continue
      }
      this.#header.push(data[at++] as number)
      const frame = this.#begun()
      if (frame === undefined) continue
      this.#header.length = 0
      const { kind, length } = frame
      const wanted = this.#hooks.wants(kind, length)
      const rest = length - 1
      if (wanted && at + rest <= end) {
        // Whole and here: no copy. The kind stands right before the body.
        this.#hooks.frame(data.subarray(at - 1, at + rest))
        at += rest
        if (!this.#hooks.ready()) return at
        continue
      }
      this.#left = rest
      this.#body = undefined
      if (wanted) {
        this.#body = new JoinedBytes()
        this.#body.append(Uint8Array.of(kind), 0, 1)
      } else if (!this.#hooks.ready()) return at
    }
    return at
  }

  #collect(body: JoinedBytes, data: Buffer, start: number, end: number): void {
    body.append(data, start, end)
    if (this.#left > 0) return
    this.#body = undefined
    const pieces: Buffer[] = []
    for (let piece = body.take(); piece !== undefined; piece = body.take()) pieces.push(piece)
    this.#hooks.frame(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces))
  }

  /** Length and kind, once both are here. */
  #begun(): { kind: number; length: number } | undefined {
    const header = this.#header
    let length = 0
    for (let i = 0; i < header.length; i++) {
      const byte = header[i] as number
      length += (byte & 0x7f) * 2 ** (7 * i)
      if (byte >= 0x80) continue
      if ((byte === 0 && i > 0) || length === 0) return this.#fail('frame length')
      const kind = header[i + 1]
      if (kind === undefined) return undefined
      if (length > frameLimit(kind)) return this.#fail(frameLimit(kind) === 0 ? 'frame kind' : 'longer than allowed')
      return { kind, length }
    }
    return header.length >= HEADER_BYTES - 1 ? this.#fail('frame length') : undefined
  }

  #fail(reason: string): undefined {
    this.close()
    this.#hooks.fault(malformed(reason))
    return undefined
  }
}
