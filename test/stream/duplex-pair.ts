import { Duplex } from 'node:stream'

export interface PairOptions {
  /** What one side wrote, as the chunks that the other side reads; the identity unless told. */
  a2b?: (bytes: Buffer) => Buffer[]
  b2a?: (bytes: Buffer) => Buffer[]
  highWaterMark?: number
}

/** Two connected duplexes in memory with back-pressure, half-open; what crosses can be watched and changed. */
export function duplexPair(options: PairOptions = {}): { a: Duplex; b: Duplex; written: { a: Buffer[]; b: Buffer[] } } {
  const written: { a: Buffer[]; b: Buffer[] } = { a: [], b: [] }
  const a: Duplex = side(() => b, written.a, options.a2b, options.highWaterMark)
  const b: Duplex = side(() => a, written.b, options.b2a, options.highWaterMark)
  return { a, b, written }
}

const wake: WeakMap<Duplex, () => void> = new WeakMap()

function side(other: () => Duplex, written: Buffer[], change: (bytes: Buffer) => Buffer[] = (bytes) => [bytes], highWaterMark = 65_536): Duplex {
  return new Duplex({
    highWaterMark,
    read() {
      const resume = wake.get(this)
      wake.delete(this)
      resume?.()
    },
    write(chunk: Buffer, _encoding, done) {
      written.push(Buffer.from(chunk))
      const to = other()
      let more = true
      if (!to.destroyed) for (const piece of change(Buffer.from(chunk))) if (piece.length > 0) more = to.push(piece)
      if (more || to.destroyed) done()
      else wake.set(to, () => done())
    },
    final(done) {
      const to = other()
      if (!to.destroyed) to.push(null)
      done()
    },
    destroy(error, done) {
      const to = other()
      wake.get(this)?.()
      setImmediate(() => {
        if (!to.destroyed) to.destroy()
      })
      done(error)
    },
  })
}

/** Splits into single bytes. */
export const byteByByte = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.of(byte))
