import type { Duplex } from 'node:stream'
import type { Timer } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import type { Settings } from './config.ts'
import { EncryptedStream } from './encrypted-stream.ts'
import { FrameReader } from './frame.ts'
import type { Established } from './handshake.ts'
import { Session } from './session.ts'
import { Wire } from './wire.ts'

/**
 * One try at a connection: owns the duplex until a stream comes of it, ends it on any failure, and guards it by deadline and signal.
 */
export class Attempt {
  readonly reader: FrameReader = new FrameReader()
  readonly wire: Wire
  /** Runs once when the attempt is over, before its promise settles: wipes what was begun. */
  onOver: () => void = () => undefined
  readonly #settings: Settings
  readonly #outcome: PromiseWithResolvers<EncryptedStream> = Promise.withResolvers()
  readonly #deadline: Timer
  #over = false

  /** @throws TypeError when the duplex does not carry bytes; KithError `HANDSHAKE_FAILED` when it has ended; the signal's reason when aborted. */
  constructor(duplex: Duplex, settings: Settings) {
    settings.signal?.throwIfAborted()
    if (!Wire.open(duplex)) throw new KithError('HANDSHAKE_FAILED', 'the connection has ended')
    this.#settings = settings
    this.reader.hold()
    this.wire = new Wire(duplex, this.reader)
    this.reader.onViolation = (error) => this.fail(error)
    this.wire.onEnd = () => this.fail(new KithError('HANDSHAKE_FAILED'))
    this.wire.onClose = (error) => this.fail(new KithError('HANDSHAKE_FAILED', undefined, error === undefined ? {} : { cause: error }))
    this.#deadline = settings.clock.after(settings.handshakeTimeoutMs, () => this.fail(new KithError('HANDSHAKE_TIMEOUT')))
    settings.signal?.addEventListener('abort', this.#abort, { once: true })
  }

  get result(): Promise<EncryptedStream> {
    return this.#outcome.promise
  }

  get over(): boolean {
    return this.#over
  }

  /** Starts to hand out what the other side sends. */
  start(): void {
    this.reader.resume()
  }

  /** Takes the next frame, of at most `limit` bytes. What `take` throws ends the attempt; false holds what comes behind. */
  expect(limit: number, take: (payload: Buffer) => boolean): void {
    this.reader.limit = limit
    this.reader.onFrame = (buffer, start, end) => this.guard(() => take(buffer.subarray(start, end))) ?? false
  }

  /** Runs `act`; what it throws ends the attempt. */
  guard<T>(act: () => T): T | undefined {
    try {
      return act()
    } catch (error) {
      this.fail(error instanceof TypeError ? error : asKithError(error, 'HANDSHAKE_FAILED'))
      return undefined
    }
  }

  succeed(role: 'dialer' | 'listener', established: Established): Session {
    this.#finish()
    const { signer, maxMessageBytes, clock } = this.#settings
    const session = new Session(this.wire, this.reader, established, { role, localKey: signer.publicKey, maxMessageBytes, clock })
    this.#outcome.resolve(new EncryptedStream(session))
    return session
  }

  fail(reason: unknown): void {
    if (this.#over) return
    this.#finish()
    this.#outcome.reject(reason)
    this.wire.destroy()
  }

  #abort = (): void => this.fail(this.#settings.signal?.reason)

  #finish(): void {
    this.#over = true
    this.#deadline.cancel()
    this.#settings.signal?.removeEventListener('abort', this.#abort)
    this.onOver()
    this.#settings.release()
  }
}
