import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { LinkStream } from '../transport/types.ts'
import { StreamReader } from './stream-reader.ts'

/** Echo: whatever arrives goes back, until the opener ends. */
export const PING_PROTOCOL = 'icn/ping/1'
const PING_BYTES = 16
const PING_DEADLINE_MS = 10_000

/** Sends back what comes in, no faster than it is taken. */
export function servePing(stream: LinkStream): void {
  let owed = 0
  stream.onData = (data, start, end) => {
    const room = stream.write(data, start, end)
    if (room) stream.consume(end - start)
    else owed += end - start
  }
  stream.onDrain = () => {
    const length = owed
    owed = 0
    if (length > 0) stream.consume(length)
  }
  stream.onEnd = () => stream.end()
}

/**
 * One round trip over an open stream, in ms.
 * @throws KithError `TIMEOUT`, `ABORTED`, `WIRE_MALFORMED` for an echo of something else, or what ended the stream.
 */
export async function pingOnce(
  stream: LinkStream,
  components: { readonly clock: Clock; readonly random: Random; readonly signal?: AbortSignal | undefined },
): Promise<number> {
  const { clock, random, signal } = components
  const reader = new StreamReader(stream, { clock, deadlineMs: PING_DEADLINE_MS, limit: PING_BYTES, signal })
  try {
    const sent = random.bytes(PING_BYTES)
    const startedAt = clock.monotonic()
    stream.write(sent)
    stream.end()
    const echo = await reader.read(PING_BYTES)
    if (!equal(echo, sent)) throw new KithError('WIRE_MALFORMED', 'the echo is not what was sent')
    return clock.monotonic() - startedAt
  } finally {
    reader.close()
  }
}
