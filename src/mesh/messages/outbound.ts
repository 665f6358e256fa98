import { KithError } from '../../core/errors.ts'
import type { LinkStream } from '../../transport/types.ts'
import { framed } from './live-frames.ts'

/** Sends that may wait for one link. */
const MAX_WAITING = 10_000
/** Frames of one turn that are joined into one write; a large one goes by itself. */
const JOINED_BYTES: number = 64 * 1024
const nothing = (): void => {}

interface Waiter {
  resolve(): void
  reject(error: KithError): void
}

/** What we sent under a session, on whatever streams: no number is used twice. */
export interface SessionNumbers {
  readonly session: Uint8Array
  last: number
}

/**
 * Our live messages on one connection: one stream for as long as it lasts, and what is sent together in one write. While the stream is full,
 * senders wait.
 */
export class Outbound {
  readonly #open: () => Promise<LinkStream>
  readonly #numbers: SessionNumbers
  readonly #waiters: Set<Waiter> = new Set()
  #stream: LinkStream | undefined
  #opening: Promise<LinkStream> | undefined
  #error: KithError | undefined
  #full = false
  #frames: Uint8Array[] = []
  #scheduled = false

  constructor(open: () => Promise<LinkStream>, numbers: SessionNumbers) {
    this.#open = open
    this.#numbers = numbers
  }

  /** Why it cannot be used any more. */
  get error(): KithError | undefined {
    return this.#error
  }

  /** Waits for the stream and for room, then takes the envelope that `sign` makes for the next number. @throws KithError */
  async send(sign: (session: Uint8Array, seq: number) => Uint8Array): Promise<void> {
    if (this.#stream === undefined) {
      this.#opening ??= this.#start()
      await this.#opening
    }
    while (this.#full && this.#error === undefined) await this.#room()
    if (this.#error !== undefined) throw this.#error
    this.#frames.push(sign(this.#numbers.session, this.#numbers.last + 1))
    this.#numbers.last++
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => this.#flush())
  }

  /** Nothing more is sent here; what was taken leaves first. */
  end(error: KithError): void {
    if (this.#error !== undefined) return
    this.#flush()
    this.#stream?.end()
    this.#fail(error)
  }

  async #start(): Promise<LinkStream> {
    try {
      const stream = await this.#open()
      if (this.#error !== undefined) {
        stream.reset(this.#error.number)
        throw this.#error
      }
      stream.onData = (_data, start, end) => stream.consume(end - start)
      stream.onEnd = nothing
      stream.onError = (error) => this.#fail(error)
      stream.onClose = () => this.#fail(new KithError('LINK_CLOSED'))
      stream.onDrain = () => {
        this.#full = false
        for (const waiter of this.#waiters) waiter.resolve()
        this.#waiters.clear()
      }
      this.#stream = stream
      return stream
    } catch (error) {
      this.#fail(error instanceof KithError ? error : new KithError('LINK_LOST', undefined, { cause: error }))
      throw error
    }
  }

  #flush(): void {
    this.#scheduled = false
    const frames = this.#frames
    this.#frames = []
    if (this.#error !== undefined || this.#stream === undefined) return
    for (let from = 0; from < frames.length; ) {
      let to = from
      let length = 0
      while (to < frames.length && (to === from || length < JOINED_BYTES)) length += (frames[to++] as Uint8Array).length
      if (!this.#stream.write(framed(frames.slice(from, to)))) this.#full = true
      from = to
    }
  }

  #room(): Promise<void> {
    if (this.#waiters.size >= MAX_WAITING) throw new KithError('BUDGET_EXCEEDED', 'too many messages wait for this link', { details: { limit: MAX_WAITING } })
    return new Promise((resolve, reject) => this.#waiters.add({ resolve, reject }))
  }

  #fail(error: KithError): void {
    this.#error ??= error
    for (const waiter of this.#waiters) waiter.reject(this.#error)
    this.#waiters.clear()
  }
}
