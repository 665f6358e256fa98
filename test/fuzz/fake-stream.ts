import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import type { KithError } from '../../src/core/errors.ts'
import type { Connection, LinkStream } from '../../src/transport/types.ts'

/** A lean stream whose other side is the test; holds its owner to the rules of `LinkStream`. */
export class FakeStream implements LinkStream {
  readonly id = 1
  readonly inbound = true
  readonly connection = {} as Connection
  onData: (data: Buffer, start: number, end: number) => void = () => {}
  onEnd: () => void = () => {}
  onError: (error: KithError, direction: 'both' | 'write') => void = () => {}
  onDrain: () => void = () => {}
  onClose: () => void = () => {}
  readonly written: Buffer[] = []
  ended = false
  /** The number the owner reset with. */
  resetNumber: number | undefined
  /** Told when the owner says something or leaves. */
  onOwner: () => void = () => {}
  #given = 0

  write(data: Uint8Array, start = 0, end: number = data.length): boolean {
    if (this.resetNumber === undefined && !this.ended) this.written.push(Buffer.from(data.subarray(start, end)))
    this.onOwner()
    return true
  }
  end(): void {
    this.ended = true
    this.onOwner()
  }
  reset(number: number): void {
    this.resetNumber ??= number
    this.onOwner()
  }
  stop(number: number): void {
    this.reset(number)
  }
  consume(length: number): void {
    assert.ok(length >= 0 && length <= this.#given, 'more credit returned than was handed out')
    this.#given -= length
  }
  toDuplex(): Duplex {
    return new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  }

  /** What the other side says, in pieces of so many bytes. */
  feed(bytes: Uint8Array, step: number = bytes.length): void {
    for (let at = 0; at < bytes.length && this.resetNumber === undefined; at += step) {
      const piece = Buffer.from(bytes.subarray(at, at + step))
      this.#given += piece.length
      this.onData(piece, 0, piece.length)
    }
  }
  /** The other side ends its half. */
  close(): void {
    if (this.resetNumber === undefined) this.onEnd()
  }
  /** The other side resets. */
  fail(number: KithError): void {
    if (this.resetNumber === undefined) this.onError(number, 'both')
  }
  get said(): Buffer {
    return Buffer.concat(this.written)
  }
}
