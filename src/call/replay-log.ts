import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Event } from './define.ts'

export interface ReplayLogOptions {
  /** Events that are kept. */
  readonly size: number
  readonly random: Random
}

/** The last events of a subscription, so that callers can take it up behind the last one they saw. */
export interface ReplayLog<T> {
  /** Adds an event, wakes whoever waits, and forgets the oldest one beyond `size`. */
  push(value: T): Event<T>
  /**
   * What came behind `lastEventId` (from now on without one), then what comes. Ends when the log is closed or the signal aborts. Readers share what is kept: a slow
   * one takes no memory, and falls out when it is `size` events late.
   * @throws KithError `CALL_RESUME` when events behind it are not kept any more, or the id is of another log.
   */
  subscribe(options?: { readonly lastEventId?: string | undefined; readonly signal?: AbortSignal }): AsyncIterableIterator<Event<T>>
  close(): void
}

/** Ids are the log's own mark and a number: those from before a restart are recognised as such. @throws TypeError */
export function createReplayLog<T>({ size, random }: ReplayLogOptions): ReplayLog<T> {
  if (!Number.isSafeInteger(size) || size < 1) throw new TypeError('a replay log keeps at least one event')
  const mark = Buffer.from(random.bytes(6)).toString('hex')
  const kept: Event<T>[] = []
  /** Number of the next event; the oldest kept is `next - kept.length`. */
  let next = 0
  let closed = false
  let waiters: (() => void)[] = []

  const wake = (): void => {
    const woken = waiters
    waiters = []
    for (const resolve of woken) resolve()
  }
  const gone = (): KithError => new KithError('CALL_RESUME')

  function positionOf(lastEventId: string | undefined): number {
    if (lastEventId === undefined) return next
    const [of, number] = lastEventId.split('.')
    const last = Number(number)
    if (of !== mark || !/^\d{1,15}$/.test(number ?? '') || last >= next || last + 1 < next - kept.length) throw gone()
    return last + 1
  }

  async function* subscribe({
    lastEventId,
    signal,
  }: {
    readonly lastEventId?: string | undefined
    readonly signal?: AbortSignal
  } = {}): AsyncGenerator<Event<T>> {
    let position = positionOf(lastEventId)
    signal?.addEventListener('abort', wake, { once: true })
    try {
      for (;;) {
        if (signal?.aborted === true) return
        if (position < next - kept.length) throw gone()
        if (position < next) yield kept[kept.length - (next - position++)] as Event<T>
        else if (closed) return
        else await new Promise<void>((resolve) => waiters.push(resolve))
      }
    } finally {
      signal?.removeEventListener('abort', wake)
    }
  }

  return {
    push(value) {
      const event = new Event(value, `${mark}.${next++}`)
      kept.push(event)
      if (kept.length > size) kept.shift()
      wake()
      return event
    },
    subscribe,
    close() {
      closed = true
      wake()
    },
  }
}
