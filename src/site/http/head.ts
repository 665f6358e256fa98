import { HeaderReader } from './header-lines.ts'
import { hostName } from './host.ts'
import { type RequestLine, RequestLineReader } from './request-line.ts'
import { readTarget } from './target.ts'

export interface Head extends RequestLine {
  /** In order, names in lower case. */
  readonly lines: readonly { readonly name: string; readonly value: string }[]
}

/** 494 is nginx's own number for header lines that are too long; it is answered as 400. */
export type HeadRefusal = 400 | 414 | 494 | 505

/** Headers that nginx refuses when they come twice. */
const UNIQUE: ReadonlySet<string> = new Set([
  ...['host', 'content-length', 'content-range', 'transfer-encoding', 'expect', 'authorization'],
  ...['if-modified-since', 'if-unmodified-since', 'if-match', 'if-none-match', 'if-range'],
])
/** nginx's `client_header_buffer_size` and `large_client_header_buffers`. */
const FIRST_BYTES = 1_024
const LARGE_BYTES = 8_192
const LARGE_COUNT = 4

/**
 * A request head out of bytes in whatever pieces. Its memory is bounded as nginx bounds it, by one buffer of 1 KiB and four of 8 KiB, of which a line must fit
 * into one: so the same requests are too long. What is wrong with a line by itself is said at its end, as nginx does, not at the end of the head.
 */
export class HeadReader {
  readonly #line: RequestLineReader = new RequestLineReader()
  readonly #headers: HeaderReader = new HeaderReader()
  readonly #seen: Set<string> = new Set()
  #inHeaders = false
  /** Of the buffer in use: its size, what complete lines fill, what the current line has. */
  #capacity = FIRST_BYTES
  #used = 0
  #current = 0
  #large = 0

  /** Whether a byte of the request itself has come. */
  get begun(): boolean {
    return !this.#line.untouched
  }

  /** A request without a version gets answers without heads, refusals too. */
  get isNine(): boolean {
    return this.#line.isNine
  }

  /** As soon as it is whole; a refusal of HEAD has no page. */
  get method(): string {
    return this.#line.methodRead ? this.#line.line.method : ''
  }

  get head(): Head {
    return { ...this.#line.line, lines: this.#headers.lines }
  }

  /** `at` is where it stopped: behind the head when that is complete. */
  feed(bytes: Uint8Array, from: number): { readonly at: number; readonly outcome: 'more' | 'done' | HeadRefusal } {
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at] as number
      if (!this.#room()) return { at, outcome: this.#inHeaders ? 494 : 414 }
      const outcome = this.#inHeaders ? this.#headers.feed(byte) : this.#line.feed(byte)
      if (typeof outcome === 'number') return { at: at + 1, outcome }
      if (!this.#inHeaders && this.#line.untouched) continue
      this.#current++
      if (outcome === 'more') continue
      this.#used += this.#current
      this.#current = 0
      if (outcome === 'line' ? this.#isBadHeader() : !this.#inHeaders && this.#isBadLine()) return { at: at + 1, outcome: 400 }
      if (this.#inHeaders && outcome === 'done') return { at: at + 1, outcome }
      if (!this.#inHeaders && this.#line.isNine) return { at: at + 1, outcome: 'done' }
      this.#inHeaders = true
    }
    return { at: bytes.length, outcome: 'more' }
  }

  #isBadLine(): boolean {
    const { host, target } = this.#line.line
    return (host !== undefined && hostName(host) === undefined) || readTarget(target) === undefined
  }

  #isBadHeader(): boolean {
    const { name, value } = this.#headers.last ?? { name: '', value: '' }
    const again = this.#seen.has(name)
    if (UNIQUE.has(name)) this.#seen.add(name)
    return again || (name === 'host' && hostName(value) === undefined)
  }

  /** A line that does not fit into what is left begins a new buffer. */
  #room(): boolean {
    if (this.#used + this.#current < this.#capacity) return true
    if (this.#current >= LARGE_BYTES || this.#large === LARGE_COUNT) return false
    this.#large++
    this.#capacity = LARGE_BYTES
    this.#used = 0
    return true
  }
}
