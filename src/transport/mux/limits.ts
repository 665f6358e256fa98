import type { Clock } from '../../core/clock.ts'
import { HEADER_BYTES } from './frames.ts'

/** The window every yamux stream starts with, in both directions; not negotiable. */
export const INITIAL_WINDOW_BYTES: number = 256 * 1024
/** Two reads of a socket and what is under way meanwhile; with half of it the sender stands still for a third of the time even on loopback. As much as OpenSSH gives. */
export const DEFAULT_WINDOW_BYTES: number = 2 * 1024 * 1024
export const MAX_WINDOW_BYTES: number = 16 * 1024 * 1024
/** What all streams of a link together may have beyond their initial windows: a window is a promise of memory. */
export const DEFAULT_LINK_WINDOW_BYTES: number = 16 * 1024 * 1024
/** A stream that has consumed this much is bulk and gets its full window. */
export const BULK_BYTES: number = 64 * 1024

/** Streams one side may have open at once. Both sides know it; the opener waits. */
export const DEFAULT_STREAMS = 100
export const MAX_STREAMS = 65_536

/** Largest payload of a frame that nobody else waits behind. */
export const MAX_FRAME_BYTES: number = 64 * 1024
/**
 * Payload per visit while several streams wait: 16 KiB with its header, so that four frames fill one record of the encrypted stream to the byte. A payload
 * of 16 KiB gets a record of its own and its header another, which costs a tenth of the rate.
 */
export const QUANTUM_BYTES: number = 16 * 1024 - HEADER_BYTES

/** Above the first mark `write` returns false; below the second `onDrain` follows. */
export const QUEUE_HIGH_BYTES: number = 64 * 1024
export const QUEUE_LOW_BYTES: number = 32 * 1024
/** A stream whose owner writes on and on without waiting is reset here. */
export const QUEUE_MAX_BYTES: number = 16 * 1024 * 1024

/** Resets a peer may send: this many at once, then this many a second. */
export const RESET_BURST = 400
export const RESETS_PER_SECOND = 200
/** What we send stays well below, whatever the network does to the spacing; more wait. */
export const OWN_RESET_BURST = 100
export const OWN_RESETS_PER_SECOND = 150

/** Pings a peer may send. */
export const PING_BURST = 1000
export const PINGS_PER_SECOND = 200
/** What we ask stays below. */
export const OWN_PING_BURST = 500
export const OWN_PINGS_PER_SECOND = 150
/** Answers that may wait while the pipe is blocked. */
export const PONGS_WAITING = 64

/** Frames of ours that may wait, in bytes, for a peer that does not read them: most of them answer what it sends. */
export const UNREAD_CONTROL_BYTES: number = 1024 * 1024

/** Frames that do nothing (empty data, empty credit, credit for a stream that has ended): this many, and one more for each frame we send. */
export const IDLE_FRAMES = 1024
/** Late bytes allowed for each stream we reset, beyond the window it had left: its last frames may be small ones. */
export const LATE_BYTES = 64

export const KEEP_ALIVE_MS = 15_000
export const PING_TIMEOUT_MS = 15_000
/** How long a close waits for the other side's answer. */
export const CLOSE_MS = 1000

/** At most `burst` at once and `perSecond` in the long run. */
export class TokenBucket {
  readonly #clock: Clock
  readonly #burst: number
  readonly #perSecond: number
  #tokens: number
  #since: number

  constructor(clock: Clock, burst: number, perSecond: number) {
    this.#clock = clock
    this.#burst = burst
    this.#perSecond = perSecond
    this.#tokens = burst
    this.#since = clock.monotonic()
  }

  take(): boolean {
    if (this.#tokens < 1) this.#refill()
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#since) * this.#perSecond) / 1000)
    this.#since = now
  }
}
