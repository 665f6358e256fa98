import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../core/clock.ts'
import { type Codec, encode, Reader } from '../core/codec.ts'
import { asKithError, KithError } from '../core/errors.ts'

/** Exact reads and awaited writes on a Duplex, with a bound on silence. One reader, one writer. */
export interface FrameStream {
  /** Exactly `length` bytes. @throws KithError what ended the stream, `TIMEOUT` after `IDLE_MS` of silence. */
  bytes(length: number): Promise<Buffer>
  /** A codec whose first bytes tell its length: `prefix` reads them, `rest` says how many more there are. `tag`: what was read of it already. */
  read<T>(codec: Codec<T>, fixed: number, rest?: (head: Buffer) => number, tag?: Uint8Array): Promise<T>
  /** Resolves when the stream no longer needs `data`. */
  write(data: Uint8Array): Promise<void>
  send<T>(codec: Codec<T>, value: T): Promise<void>
  end(): void
  fail(error: KithError): void
  /** Aborted when nothing more can come from the other side, with the error that ended the stream. */
  readonly gone: AbortSignal
}

/** A peer that says nothing for so long has gone, whatever its link says. */
export const IDLE_MS = 60_000

export function frameStream(duplex: Duplex, clock: Clock): FrameStream {
  let failure: KithError | null = null
  let ended = false
  let wake: (() => void) | null = null
  const gone = new AbortController()
  const notify = (): void => wake?.()
  const leave = (): void => gone.abort(failure ?? new KithError('LINK_LOST', 'the stream ended too early'))
  duplex.on('readable', notify)
  duplex.on('end', () => {
    ended = true
    leave()
    notify()
  })
  duplex.on('error', (error) => {
    failure ??= asKithError(error, 'LINK_LOST')
    leave()
    notify()
  })
  duplex.on('close', () => {
    if (!ended) failure ??= new KithError('LINK_LOST')
    ended = true
    leave()
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
    async read(codec, fixed, rest, tag = new Uint8Array(0)) {
      const head = await bytes(fixed)
      const more = rest?.(head) ?? 0
      return codec.read(new Reader(Buffer.concat([tag, head, await bytes(more)])))
    },
    write,
    send: (codec, value) => write(encode(codec, value)),
    end: () => {
      duplex.end()
    },
    fail: (error) => {
      duplex.destroy(error)
    },
    gone: gone.signal,
  }
}
