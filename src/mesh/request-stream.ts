import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { malformed } from '../core/codec.ts'
import { KithError } from '../core/errors.ts'
import { abortError } from './errors.ts'

/** A whole request and its answer pass within this. */
const DEADLINE_MS = 60_000

/**
 * One question, one answer: the asker writes and ends, the other side answers and ends. Refusals are resets with the number of their code.
 */
export interface Conversation {
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
}

/**
 * Asks on a stream made for it. At most `limit` bytes of answer.
 * @throws KithError what the other side refused with, `WIRE_MALFORMED`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. The stream is destroyed with the same error.
 */
export async function ask(stream: Duplex, request: Uint8Array, limit: number, options: Conversation): Promise<Uint8Array> {
  return await bounded(stream, options, async () => {
    stream.end(request)
    return await readAll(stream, limit)
  })
}

/**
 * Answers on a stream that a peer opened. `answer` may look at the first `headLength` bytes, and refuse, before the rest is read; what it returns is the most that
 * may come in all, and how to go on with all of it.
 * @throws KithError what was refused with; the peer has been told by its number.
 */
export async function serve(
  stream: Duplex,
  headLength: number,
  options: Conversation,
  begin: (head: Uint8Array) => Accepted | Promise<Accepted>,
): Promise<void> {
  await bounded(stream, options, async () => {
    const chunks = stream.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Uint8Array>
    const parts: Uint8Array[] = []
    let length = 0
    let accepted: Accepted | undefined
    try {
      for await (const chunk of chunks) {
        parts.push(chunk)
        length += chunk.length
        if (length >= headLength) accepted ??= await begin(Buffer.concat(parts, length).subarray(0, headLength))
        if (length > (accepted?.limit ?? headLength)) throw malformed('longer than allowed', { limit: accepted?.limit ?? headLength })
      }
      accepted ??= await begin(Buffer.concat(parts, length))
      const answer = await accepted.run(Buffer.concat(parts, length))
      await finished(stream, answer)
    } finally {
      accepted?.release?.()
    }
  })
}

export interface Accepted {
  /** Bytes of the whole request. */
  readonly limit: number
  /** Gives back what was reserved, however it ends. */
  readonly release?: () => void
  run(request: Uint8Array): Promise<Uint8Array>
}

function finished(stream: Duplex, answer: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('error', reject)
    stream.once('close', () => reject(new KithError('LINK_LOST')))
    stream.end(answer, resolve)
  })
}

/** Everything up to the other side's end. */
async function readAll(stream: Duplex, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > limit) throw malformed('longer than allowed', { limit })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

/** Runs a conversation with a deadline; whatever ends it early ends the stream. */
async function bounded<T>(stream: Duplex, { clock, signal }: Conversation, run: () => Promise<T>): Promise<T> {
  const timer = clock.after(DEADLINE_MS, () => stream.destroy(new KithError('TIMEOUT', 'the other side did not finish in time')))
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
