/** As much of DER (X.690) as the certificate of a link key has: definite, shortest lengths, below 64 KiB. What is asked for and not there is undefined. */
export class DerReader {
  readonly #bytes: Uint8Array
  #at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  raw(length: number): Uint8Array | undefined {
    if (this.left < length) return undefined
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  /** Whether exactly these bytes follow; they are passed over then. */
  expect(bytes: Uint8Array): boolean {
    if (this.left < bytes.length || !bytes.every((byte, index) => this.#bytes[this.#at + index] === byte)) return false
    this.#at += bytes.length
    return true
  }

  /** The whole next element, head included, if it has this tag. */
  take(tag: number): Uint8Array | undefined {
    const head = this.#head(tag)
    return head === undefined ? undefined : this.raw(head.bytes + head.length)
  }

  /** The inside of the SEQUENCE that is next. */
  sequence(): DerReader | undefined {
    const head = this.#head(0x30)
    const element = head === undefined ? undefined : this.raw(head.bytes + head.length)
    return element === undefined || head === undefined ? undefined : new DerReader(element, head.bytes)
  }

  #head(tag: number): { bytes: number; length: number } | undefined {
    const first = this.#bytes[this.#at + 1]
    if (this.#bytes[this.#at] !== tag || first === undefined) return undefined
    if (first < 0x80) return { bytes: 2, length: first }
    const width = first - 0x80
    if (width < 1 || width > 2 || this.left < 2 + width) return undefined
    const length = this.#bytes.subarray(this.#at + 2, this.#at + 2 + width).reduce((value, byte) => value * 256 + byte, 0)
    return length < 0x80 || (width === 2 && length < 0x100) ? undefined : { bytes: 2 + width, length }
  }
}

/** UTCTime until 2049, GeneralizedTime from 2050 on, to the second (RFC 5280, 4.1.2.5). */
export function derTime(ms: number): Uint8Array {
  const digits = new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replaceAll(/[-T:]/g, '')
  const general = Number(digits.slice(0, 4)) >= 2050
  const text = Buffer.from(`${general ? digits : digits.slice(2)}Z`, 'latin1')
  return Buffer.concat([Uint8Array.of(general ? 0x18 : 0x17, text.length), text])
}

/** Milliseconds since 1970 of the next element, if it is a time in the form above. */
export function readTime(reader: DerReader | undefined): number | undefined {
  const utc = reader?.take(0x17)
  const element = utc ?? reader?.take(0x18)
  if (element === undefined) return undefined
  const text = Buffer.from(element.subarray(2)).toString('latin1')
  const match = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(utc === undefined ? text : `${Number(text.slice(0, 2)) >= 50 ? 19 : 20}${text}`)
  if (match === null || (utc === undefined && Number(match[1]) < 2050)) return undefined
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number]
  const ms = Date.UTC(year, month - 1, day, hour, minute, second)
  // The 31st of February is no date.
  return Number.isFinite(ms) && Buffer.from(derTime(ms)).equals(element) ? ms : undefined
}
