/** nginx counts with 63 bits. */
const MAX_BEFORE_DIGIT = 2 ** 59

/** A request body that nobody wants: counted off until it ends, so that the next request can be read behind it. */
export class BodySkipper {
  #left: number
  readonly #chunked: boolean
  #state: 'size' | 'extension' | 'size-end' | 'data' | 'data-cr' | 'data-lf' | 'trailer' | 'trailer-line' | 'done'
  #digits = false

  /** `length` in bytes, or `'chunked'` (RFC 9112, 7.1). */
  constructor(length: number | 'chunked') {
    this.#chunked = length === 'chunked'
    this.#left = length === 'chunked' ? 0 : length
    this.#state = this.#chunked ? 'size' : length === 0 ? 'done' : 'data'
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  /** Where the body ended or the bytes did; undefined when they are no body. */
  feed(bytes: Uint8Array, from: number): number | undefined {
    let at = from
    while (at < bytes.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const taken = Math.min(this.#left, bytes.length - at)
        this.#left -= taken
        at += taken
        if (this.#left === 0) this.#state = this.#chunked ? 'data-cr' : 'done'
        continue
      }
      if (!this.#step(bytes[at] as number)) return undefined
      at++
    }
    return at
  }

  #step(byte: number): boolean {
    switch (this.#state) {
      case 'size':
        return this.#inSize(byte)
      case 'extension':
        if (byte === 13) this.#state = 'size-end'
        else if (byte === 10) this.#begin()
        return true
      case 'size-end':
        if (byte !== 10) return false
        this.#begin()
        return true
      case 'data-cr':
        if (byte === 13) this.#state = 'data-lf'
        else if (byte === 10) this.#state = 'size'
        else return false
        return true
      case 'data-lf':
        if (byte !== 10) return false
        this.#state = 'size'
        return true
      case 'trailer':
        if (byte === 10) this.#state = 'done'
        else if (byte !== 13) this.#state = 'trailer-line'
        return true
      default:
        if (byte === 10) this.#state = 'trailer'
        return true
    }
  }

  #inSize(byte: number): boolean {
    const digit = Number.parseInt(String.fromCharCode(byte), 16)
    if (!Number.isNaN(digit)) {
      if (this.#left > MAX_BEFORE_DIGIT) return false
      this.#digits = true
      this.#left = this.#left * 16 + digit
      return true
    }
    if (!this.#digits) return false
    if (byte === 13) this.#state = 'size-end'
    else if (byte === 10) this.#begin()
    else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#state = 'extension'
    else return false
    return true
  }

  #begin(): void {
    this.#state = this.#left === 0 ? 'trailer' : 'data'
    this.#digits = false
  }
}
