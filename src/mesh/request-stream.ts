import type { Duplex } from 'node:stream'
import { malformed } from '../core/codec.ts'
import { bounded, type Conversation, endWith, readAll } from './conversation.ts'

/** A whole request and its answer pass within this. */
const DEADLINE_MS = 60_000

/**
 * One question, one answer: the asker writes and ends, the other side answers and ends. Refusals are resets with the number of their code.
 *
 * Asks on a stream made for it. At most `limit` bytes of answer.
 * @throws KithError what the other side refused with, `WIRE_MALFORMED`, `TIMEOUT`, `LINK_LOST`, `ABORTED`. The stream is destroyed with the same error.
 */
export async function ask(stream: Duplex, request: Uint8Array, limit: number, options: Conversation): Promise<Uint8Array> {
  return await bounded(stream, DEADLINE_MS, options, async () => {
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
  await bounded(stream, DEADLINE_MS, options, async () => {
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
      await endWith(stream, answer)
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
