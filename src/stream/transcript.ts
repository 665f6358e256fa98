import { utf8 } from '../core/bytes.ts'
import { varintSize } from '../core/codec.ts'
import { blake3, blake3Into } from '../core/crypto/blake3.ts'

/**
 * # Transcript
 *
 * Everything two sides have said, hashed so that both get the same 32 bytes only if they saw the same; wire-compatible with commonware's
 * `Transcript`. One BLAKE3 input whose first byte tells where it comes from:
 *
 * ```text
 * create(namespace)   00 | namespace | length                                    plain hash
 * resume(summary)     01                                                         keyed by the summary
 * fork(label)         02 | label | length                                        keyed by this transcript's summary
 * noise(label)        03 | label | length     -> endless output                  keyed by this transcript's summary
 * commit(data)        ... | data | length
 * ```
 *
 * Lengths follow their data, as an unsigned varint; version 1 writes the varint's bytes in reverse. Handshake and post-quantum step use version 0.
 * What is hashed is kept and hashed whole on `summarize`: made for short transcripts.
 */
export type TranscriptVersion = 0 | 1

const NEW = 0
const RESUME = 1
const FORK = 2
const NOISE = 3

export const SUMMARY_BYTES = 32

export class Transcript {
  readonly #version: TranscriptVersion
  readonly #key: Uint8Array | undefined
  #bytes: Uint8Array = new Uint8Array(256)
  #length = 0
  #pending = 0

  private constructor(tag: number, version: TranscriptVersion, key?: Uint8Array) {
    this.#version = version
    this.#key = key
    this.#bytes[this.#length++] = tag
  }

  static create(namespace: Uint8Array, version: TranscriptVersion = 0): Transcript {
    return new Transcript(NEW, version).commit(namespace)
  }

  static resume(summary: Uint8Array, version: TranscriptVersion = 0): Transcript {
    return new Transcript(RESUME, version, Uint8Array.from(summary))
  }

  /** The fork `label` of the transcript whose summary is given: the transcript itself need not be at hand. */
  static forkOf(summary: Uint8Array, label: string, version: TranscriptVersion = 0): Transcript {
    return new Transcript(FORK, version, Uint8Array.from(summary)).commit(utf8(label))
  }

  /** Adds bytes to the piece that the next `commit` ends. */
  append(data: Uint8Array): this {
    this.#put(data)
    this.#pending += data.length
    return this
  }

  /** Adds bytes and ends the piece: its whole length goes behind it. */
  commit(data: Uint8Array): this {
    this.append(data)
    this.#put(lengthSuffix(this.#pending, this.#version))
    this.#pending = 0
    return this
  }

  /** An independent transcript that depends on everything committed here; this one goes on unchanged. */
  fork(label: string): Transcript {
    return new Transcript(FORK, this.#version, this.summarize()).commit(utf8(label))
  }

  /** `length` pseudorandom bytes that depend on everything committed here and on `label`. */
  noise(label: string, length: number): Uint8Array {
    const source = new Transcript(NOISE, this.#version, this.summarize()).commit(utf8(label))
    const out = blake3(source.#bytes.subarray(0, source.#length), { key: source.#key as Uint8Array, length })
    source.wipe()
    return out
  }

  /** The 32 bytes that stand for everything so far; a piece that was appended but not committed counts as committed. */
  summarize(): Uint8Array {
    const length = this.#length
    if (this.#pending > 0) this.#put(lengthSuffix(this.#pending, this.#version))
    const out = new Uint8Array(SUMMARY_BYTES)
    blake3Into(out, this.#bytes, this.#length, this.#key)
    this.#length = length
    return out
  }

  /** Zeroes what was hashed. The transcript must not be used afterwards. */
  wipe(): void {
    this.#bytes.fill(0)
    this.#key?.fill(0)
  }

  #put(data: Uint8Array): void {
    const needed = this.#length + data.length
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length))
      grown.set(this.#bytes)
      this.#bytes.fill(0)
      this.#bytes = grown
    }
    this.#bytes.set(data, this.#length)
    this.#length = needed
  }
}

function lengthSuffix(length: number, version: TranscriptVersion): Uint8Array {
  const out = new Uint8Array(varintSize(length))
  let rest = length
  for (let i = 0; i < out.length; i++) {
    out[i] = i < out.length - 1 ? (rest & 0x7f) | 0x80 : rest
    rest >>>= 7
  }
  return version === 0 ? out : out.reverse()
}

/**
 * `fork(label).summarize()` and `noise(label)` of a transcript of which only the summary is at hand, written into 32 bytes of `out`.
 * Labels of protocols: at most 40 ASCII bytes.
 */
export class SummaryLabel {
  readonly #input: Uint8Array

  constructor(kind: 'fork' | 'noise', label: string) {
    const bytes = utf8(label)
    if (bytes.length > 40) throw new TypeError('a label has at most 40 bytes')
    this.#input = Uint8Array.of(kind === 'fork' ? FORK : NOISE, ...bytes, bytes.length)
  }

  derive(out: Uint8Array, summary: Uint8Array): void {
    blake3Into(out, this.#input, this.#input.length, summary)
  }
}
