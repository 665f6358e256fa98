import type { KithError } from './errors.ts'

/**
 * An ordered, reliable, authenticated pipe of bytes under a multiplexer. Boundaries between writes carry no meaning.
 *
 * Built for rate: headers and small payloads are written straight into a pooled staging buffer, large payloads are sealed from the caller's
 * memory, everything written in one turn of the event loop leaves as one write, and received bytes are handed out in place.
 * Callbacks are plain properties, set once by the one owner (a multiplexer); they must not throw.
 */
export interface BytePipe {
  /** True while more than the in-flight limit, or this turn's write budget, is spent: queue and wait for `onDrain`. Writing anyway is allowed for control frames. */
  readonly blocked: boolean
  /** The staging buffer that `reserve` points into; valid until the next call on the pipe. */
  readonly staging: Buffer
  /** Makes room for `length` (1..64) bytes and returns their offset in `staging`; the caller fills them before any other call. */
  reserve(length: number): number
  /** Appends `data[start, end)`. Copied or sealed before it returns: the caller may reuse its memory. */
  write(data: Uint8Array, start: number, end: number): void
  /** Ships what is staged now instead of at the end of the turn. */
  flush(): void
  /** Received bytes, valid only during the call. The buffer belongs to the pipe; the callee may not write to it. */
  onData: (data: Buffer, start: number, end: number) => void
  /** Called once right before staged bytes are sealed, so that window updates can ride along. */
  onFlush: () => void
  /** Called when `blocked` has become false again. */
  onDrain: () => void
  /** Called exactly once: with `null` after a clean end by the other side or a local `close()`, with the reason otherwise. */
  onClose: (error: KithError | null) => void
  /** Starts delivery of `onData`. Nothing is delivered before, whatever has arrived. */
  start(): void
  /** Ships what is staged, then ends. Idempotent. */
  close(): void
  /** Ends at once, dropping what is staged. Idempotent. */
  destroy(error: KithError): void
}
