import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { GossipEntry } from './types.ts'

/** Entries and bytes that wait for one slow reader. */
export const READER_ENTRIES = 1_024
export const READER_BYTES: number = 16 * 2 ** 20

/** Those who read a topic on this node. Each entry comes to each reader once in a run of the process. */
export class Readers {
  readonly #readers: Set<Reader> = new Set()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  get size(): number {
    return this.#readers.size
  }

  deliver(entry: GossipEntry): void {
    for (const reader of this.#readers) reader.give(entry)
  }

  /** `replay` gives what is kept already, in order; it comes first. */
  listen(listener: (entry: GossipEntry) => void, replay: AsyncIterable<GossipEntry> | undefined): () => void {
    const call = (entry: GossipEntry): void => {
      try {
        listener(entry)
      } catch (error) {
        this.#logger.error('gossip listener failed', { topic: entry.topic, error })
      }
    }
    let earlier: GossipEntry[] | undefined = replay === undefined ? undefined : []
    let ended = false
    const reader: Reader = {
      // What comes during the replay waits for its end.
      give: (entry) => (earlier === undefined ? call(entry) : void earlier.push(entry)),
      end: () => {
        ended = true
        this.#readers.delete(reader)
      },
    }
    this.#readers.add(reader)
    if (replay !== undefined) {
      void (async () => {
        for await (const entry of replay) {
          if (ended) return
          call(entry)
        }
      })()
        .catch((error: unknown) => this.#logger.error('gossip replay failed', { error }))
        .finally(() => {
          const waiting = earlier ?? []
          earlier = undefined
          for (const entry of waiting) if (!ended) call(entry)
        })
    }
    return () => reader.end()
  }

  read(replay: AsyncIterable<GossipEntry> | undefined, signal: AbortSignal | undefined): AsyncIterableIterator<GossipEntry> {
    const queue = this.#queue(signal)
    return replay === undefined ? queue.entries() : withReplay(replay, queue)
  }

  /** Ends everybody: the topic or the node goes. */
  close(): void {
    for (const reader of [...this.#readers]) reader.end()
    this.#readers.clear()
  }

  #queue(signal?: AbortSignal): Queue {
    const queue = new Queue(() => this.#readers.delete(queue), signal)
    if (signal?.aborted !== true) this.#readers.add(queue)
    return queue
  }
}

interface Reader {
  give(entry: GossipEntry): void
  end(): void
}

class Queue implements Reader {
  #waiting: GossipEntry[] = []
  #bytes = 0
  #lost = 0
  #ended = false
  #wake: (() => void) | undefined
  readonly #onEnd: () => void
  readonly #signal: AbortSignal | undefined
  readonly #abort = (): void => this.end()

  constructor(onEnd: () => void, signal?: AbortSignal) {
    this.#onEnd = onEnd
    this.#signal = signal
    if (signal?.aborted === true) this.#ended = true
    else signal?.addEventListener('abort', this.#abort, { once: true })
  }

  give(entry: GossipEntry): void {
    this.#waiting.push(entry)
    this.#bytes += entry.data.length
    while (this.#waiting.length > READER_ENTRIES || (this.#bytes > READER_BYTES && this.#waiting.length > 1)) {
      const gone = this.#waiting.shift() as GossipEntry
      this.#bytes -= gone.data.length
      this.#lost++
    }
    this.#wake?.()
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#signal?.removeEventListener('abort', this.#abort)
    this.#onEnd()
    this.#wake?.()
  }

  async *entries(): AsyncGenerator<GossipEntry> {
    try {
      for (;;) {
        const entry = this.#waiting.shift()
        if (entry !== undefined) {
          this.#bytes -= entry.data.length
          const lost = this.#lost
          this.#lost = 0
          yield lost === 0 ? entry : { ...entry, lost }
          continue
        }
        if (this.#signal?.aborted === true && this.#signal.reason instanceof KithError) throw this.#signal.reason
        if (this.#ended) return
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        this.#wake = undefined
      }
    } finally {
      this.end()
    }
  }
}

async function* withReplay(replay: AsyncIterable<GossipEntry>, queue: Queue): AsyncGenerator<GossipEntry> {
  try {
    yield* replay
    yield* queue.entries()
  } finally {
    queue.end()
  }
}
