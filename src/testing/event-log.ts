import { createHash } from 'node:crypto'

/** Records between two marks, by which two runs that differ find out where. */
export const MARK_EVERY = 4_096

const BUFFER_BYTES = 64 * 1024
const SEGMENT_BYTES = 1 + 8 + 2 + 2 + 4

export interface LogWindow {
  /** Records kept as text, first inclusive, last exclusive. */
  readonly from: number
  readonly to: number
}

/**
 * Everything that happens, hashed as it happens. Two runs with the same digest did the same things at the same times.
 *
 * ```text
 * segment = 1 || f64 time || u16 from || u16 to || u32 bytes          text = 2 || f64 time || u32 length || UTF-8
 * ```
 * Contents of segments stay out: ML-DSA signatures and fresh keys are different each time, their sizes never.
 */
export class EventLog {
  readonly #hash = createHash('sha256')
  readonly #buffer = Buffer.alloc(BUFFER_BYTES)
  readonly #window: LogWindow | undefined
  #used = 0
  count = 0
  /** The digest after each `MARK_EVERY` records. */
  readonly marks: string[] = []
  /** What the window asked for. */
  readonly lines: string[] = []

  constructor(window?: LogWindow) {
    this.#window = window
  }

  segment(time: number, from: number, to: number, bytes: number, names: () => string): void {
    const at = this.#room(SEGMENT_BYTES)
    this.#buffer[at] = 1
    this.#buffer.writeDoubleBE(time, at + 1)
    this.#buffer.writeUInt16BE(from, at + 9)
    this.#buffer.writeUInt16BE(to, at + 11)
    this.#buffer.writeUInt32BE(bytes, at + 13)
    this.#end(time, () => `${names()} ${bytes} bytes`)
  }

  text(time: number, text: string): void {
    const at = this.#room(13)
    this.#buffer[at] = 2
    this.#buffer.writeDoubleBE(time, at + 1)
    this.#buffer.writeUInt32BE(Buffer.byteLength(text), at + 9)
    this.#flush()
    this.#hash.update(text)
    this.#end(time, () => text)
  }

  digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex')
  }

  #room(bytes: number): number {
    if (this.#used + bytes > BUFFER_BYTES) this.#flush()
    const at = this.#used
    this.#used += bytes
    return at
  }

  #flush(): void {
    if (this.#used === 0) return
    this.#hash.update(this.#buffer.subarray(0, this.#used))
    this.#used = 0
  }

  #end(time: number, line: () => string): void {
    const index = this.count++
    if (this.#window !== undefined && index >= this.#window.from && index < this.#window.to) this.lines.push(`#${index} at ${time} ms: ${line()}`)
    if (this.count % MARK_EVERY === 0) this.marks.push(this.digest())
  }
}
