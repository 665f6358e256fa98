import type { Clock, Timer } from '../../core/clock.ts'

/** How often it is looked at while bytes move, and while none do. */
const BUSY_MS = 250
const IDLE_MS = 1_000
/** What an honest connection may be off by: packets under way, acknowledgements, repeats. */
const SLACK_BYTES = 512 * 1024
const FORGIVEN_PER_SECOND = 64 * 1024
/** UDP bytes per byte of payload received and sent, at most. */
const PER_RECEIVED = 1.1
const PER_SENT = 0.1

export interface NativeMemoryParts {
  readonly clock: Clock
  /** UDP bytes received, payload bytes handed out here, payload bytes sent. */
  readonly counts: () => { readonly udp: number; readonly received: number; readonly sent: number }
  /** The library holds so many bytes more, or less, than at the last look. */
  readonly onChange: (bytes: number) => void
}

/**
 * What the library keeps of a peer's bytes that nobody has read: a window of every stream, up to a hundred MiB for each connection, in memory that it does not
 * report. Reckoned from the packets that came in and the bytes that came out; what cannot be told apart is forgiven slowly.
 */
export class NativeMemory {
  readonly #parts: NativeMemoryParts
  #last: ReturnType<NativeMemoryParts['counts']>
  #estimate = 0
  #told = 0
  #timer: Timer

  constructor(parts: NativeMemoryParts) {
    this.#parts = parts
    this.#last = parts.counts()
    this.#timer = parts.clock.after(BUSY_MS, () => this.#look(BUSY_MS))
  }

  /** A stream was cut: so many bytes at most came and will never be handed out. */
  forgive(bytes: number): void {
    this.#estimate = Math.max(0, this.#estimate - bytes)
    this.#tell()
  }

  end(): void {
    this.#timer.cancel()
  }

  #look(afterMs: number): void {
    const now = this.#parts.counts()
    const { udp, received, sent } = this.#last
    this.#last = now
    const came = now.udp - udp - PER_RECEIVED * (now.received - received) - PER_SENT * (now.sent - sent)
    this.#estimate = Math.max(0, this.#estimate + came - (FORGIVEN_PER_SECOND * afterMs) / 1_000)
    const nextMs = now.udp === udp ? IDLE_MS : BUSY_MS
    this.#timer = this.#parts.clock.after(nextMs, () => this.#look(nextMs))
    this.#tell()
  }

  #tell(): void {
    const held = Math.floor(Math.max(0, this.#estimate - SLACK_BYTES))
    const change = held - this.#told
    this.#told = held
    if (change !== 0) this.#parts.onChange(change)
  }
}
