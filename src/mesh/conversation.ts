import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { malformed } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { abortError } from './errors.ts'

/** What every short exchange on a stream of its own has in common. */
export interface Conversation {
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
}

/** Runs a conversation with a deadline; whatever ends it early ends the stream. @throws KithError what ended it: `TIMEOUT`, `ABORTED`, `LINK_LOST`, what `run` throws. */
export async function bounded<T>(stream: Duplex, deadlineMs: number, { clock, signal }: Conversation, run: () => Promise<T>): Promise<T> {
  const timer = clock.after(deadlineMs, () => stream.destroy(new KithError('TIMEOUT', 'the other side did not finish in time')))
  const abort = (): void => {
    stream.destroy(signal === undefined ? undefined : abortError(signal))
  }
  // A stream destroyed while nobody reads would raise its error as an event nobody hears; the reader gets it anyway.
  stream.on('error', () => undefined)
  if (signal?.aborted === true) abort()
  else signal?.addEventListener('abort', abort, { once: true })
  try {
    return await run()
  } catch (error) {
    const failure = error instanceof KithError ? error : new KithError('LINK_LOST', undefined, { cause: error })
    stream.destroy(failure)
    throw failure
  } finally {
    timer.cancel()
    signal?.removeEventListener('abort', abort)
  }
}

/** Everything up to the other side's end. @throws KithError `WIRE_MALFORMED` beyond `limit` bytes. */
export async function readAll(stream: Duplex, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > limit) throw malformed('longer than allowed', { limit })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

/** Writes the last bytes and waits until they have left. */
export function endWith(stream: Duplex, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('error', reject)
    stream.once('close', () => reject(new KithError('LINK_LOST')))
    stream.end(bytes, resolve)
  })
}
