import type { Clock, Timer } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Listener } from '../types.ts'
import { formatAddress } from './address.ts'
import type { NativeConnection, NativeServer } from './native.ts'

/**
 * Accepting. The library takes one handshake per pending `inboundConnection` call and keeps that call until the handshake has ended, half-open
 * ones until the idle timeout: with a single call, one silent stranger would stop everyone else for that long. So many calls are kept
 * pending, more while handshakes are under way, up to a limit that bounds memory. What comes beyond waits in the library's own queue.
 */
const SPARE = 64
const IDLE_CHECK_MS = 1_000
const BUSY_CHECK_MS = 100

export interface QuicListenerParts {
  readonly server: NativeServer
  readonly host: string
  /** Calls kept pending at most. */
  readonly maxHandshakes: number
  readonly clock: Clock
  readonly logger: Logger
  /** Takes a connection over, or ends it. */
  readonly onConnection: (native: NativeConnection) => void
  /** A connection ended before its handshake did. */
  readonly onFailed: ((error: KithError) => void) | undefined
}

export class QuicListener implements Listener {
  readonly addresses: readonly string[]
  readonly #parts: QuicListenerParts
  #pending = 0
  #ended = 0
  #connections = 0
  #closed = false
  #released: Promise<void> | undefined
  #timer: Timer

  constructor(parts: QuicListenerParts) {
    this.#parts = parts
    this.addresses = [formatAddress(parts.host, parts.server.port())]
    this.#timer = parts.clock.after(IDLE_CHECK_MS, () => this.#check())
    this.#fill()
  }

  /** The port is free once the connections accepted here have ended: they share its socket. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer.cancel()
    this.#releaseWhenUnused()
    await this.#released
  }

  /** Handshakes under way that a call was given to. */
  get #handshakes(): number {
    return Math.max(0, this.#parts.server.stats().acceptedHandshakes - this.#ended)
  }

  #check(): void {
    const handshakes = this.#fill()
    this.#timer = this.#parts.clock.after(handshakes > 0 ? BUSY_CHECK_MS : IDLE_CHECK_MS, () => this.#check())
  }

  /** Keeps as many calls spare as there are under way, and a few. */
  #fill(): number {
    const handshakes = this.#handshakes
    const wanted = Math.min(this.#parts.maxHandshakes, SPARE + handshakes * 4)
    while (!this.#closed && this.#pending < wanted) {
      this.#pending++
      this.#parts.server.inboundConnection().then(
        (native) => this.#settled(native),
        (error: unknown) => this.#failed(error),
      )
    }
    return handshakes
  }

  #settled(native: NativeConnection): void {
    this.#pending--
    this.#ended++
    if (this.#closed) {
      native.abort()
      return
    }
    this.#connections++
    const gone = (): void => {
      this.#connections--
      if (this.#closed) this.#releaseWhenUnused()
    }
    native.closed().then(gone, gone)
    this.#fill()
    this.#parts.onConnection(native)
  }

  #failed(error: unknown): void {
    this.#pending--
    this.#ended++
    if (this.#closed || (error instanceof Error && error.message.startsWith('server closed'))) return
    const failure = isKithError(error) ? error : new KithError('HANDSHAKE_FAILED', undefined, { cause: error })
    this.#parts.logger.debug('quic.handshake_failed', { reason: failure.code })
    this.#parts.onFailed?.(failure)
    this.#fill()
  }

  #releaseWhenUnused(): void {
    if (this.#connections > 0 || this.#released !== undefined) return
    this.#released = this.#parts.server.abort().catch(() => undefined)
  }
}
