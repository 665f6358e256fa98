import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../core/clock.ts'
import { type Codec, encode, Reader } from '../core/codec.ts'
import { asKithError, KithError } from '../core/errors.ts'

/** Exact reads and awaited writes on a Duplex, with a bound on silence. One reader, one writer. */
export interface FrameStream {
  /** Exactly `length` bytes. @throws KithError what ended the stream, `TIMEOUT` after `IDLE_MS` of silence. */
  bytes(length: number): Promise<Buffer>
  /** A codec whose first bytes tell its length: `prefix` reads them, `rest` says how many more there are. */
  read<T>(codec: Codec<T>, fixed: number, rest?: (head: Buffer) => number): Promise<T>
  /** Resolves when the stream no longer needs `data`. */
  write(data: Uint8Array): Promise<void>
  send<T>(codec: Codec<T>, value: T): Promise<void>
  end(): void
  fail(error: KithError): void
}

/** A peer that says nothing for so long has gone, whatever its link says. */
export const IDLE_MS = 60_000

export function frameStream(duplex: Duplex, clock: Clock): FrameStream {
  let failure: KithError | null = null
  let ended = false
  let wake: (() => void) | null = null
  const notify = (): void => wake?.()
  duplex.on('readable', notify)
  duplex.on('end', () => {
    ended = true
    notify()
  })
  duplex.on('error', (error) => {
    failure ??= asKithError(error, 'LINK_LOST')
    notify()
  })
  duplex.on('close', () => {
    if (!ended) failure ??= new KithError('LINK_LOST')
    ended = true
    notify()
  })

  function idle(reject: (error: KithError) => void): Timer {
    return clock.after(IDLE_MS, () => reject(new KithError('TIMEOUT', 'the other side has been silent for a minute')))
  }

  async function bytes(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0)
    const out = Buffer.allocUnsafe(length)
    let at = 0
    for (;;) {
      while (at < length) {
        const available = Math.min(length - at, duplex.readableLength)
        const part = available > 0 ? (duplex.read(available) as Buffer | null) : null
        if (part === null) break
        part.copy(out, at)
        at += part.length
      }
      if (at === length) return out
      if (failure !== null) throw failure
      if (ended) throw new KithError('LINK_LOST', 'the stream ended too early')
      await new Promise<void>((resolve, reject) => {
        const timer = idle(reject)
        wake = () => {
          timer.cancel()
          wake = null
          resolve()
        }
        // Asks for more: with nothing buffered, `readable` comes only after a read has been tried.
        duplex.read(0)
      })
    }
  }

  async function write(data: Uint8Array): Promise<void> {
    if (failure !== null) throw failure
    await new Promise<void>((resolve, reject) => {
      const timer = idle(reject)
      duplex.write(data, (error) => {
        timer.cancel()
        if (error) reject(failure ?? asKithError(error, 'LINK_LOST'))
        else resolve()
      })
    })
  }

  return {
    bytes,
    async read(codec, fixed, rest) {
      const head = await bytes(fixed)
      const more = rest?.(head) ?? 0
      const reader = new Reader(more === 0 ? head : Buffer.concat([head, await bytes(more)]))
      return codec.read(reader)
    },
    write,
    send: (codec, value) => write(encode(codec, value)),
    end: () => {
      duplex.end()
    },
    fail: (error) => {
      duplex.destroy(error)
    },
  }
}
