import type { PublicKey } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { RecordCipher, TAG_BYTES } from '../core/crypto/aead.ts'
import { KithError } from '../core/errors.ts'
import type { KeyLease } from '../core/key-slab.ts'
import type { FrameReader } from './frame.ts'
import type { Established } from './handshake.ts'
import { RecordSender } from './record-sender.ts'
import { SUMMARY_BYTES, type SummaryLabel } from './transcript.ts'
import type { Wire } from './wire.ts'

/** How long a closing side waits for the other one's end before it lets go of the connection. */
const LINGER_MS = 1_000
/** Largest plaintext that a frame can carry: 2^32 - 1 bytes of payload less the tag. */
export const MAX_MESSAGE_BYTES: number = 0xffff_ffff - TAG_BYTES

export interface SessionOptions {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly maxMessageBytes: number
  readonly clock: Clock
}

/**
 * What runs after the handshake: records both ways, the keys and the end of them. Has one owner at a time (the message face, the pipe, the post-quantum step),
 * which sets the callbacks; whatever arrives while nobody takes it waits.
 */
export class Session {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly maxMessageBytes: number
  readonly sender: RecordSender
  /** The message of a record, valid only during the call. False holds back the rest until `resume`. Must not throw. */
  onRecord: (buffer: Buffer, start: number, end: number) => boolean = () => false
  /** The other side ended, and everything it sent was handed out. At most once. */
  onEnd: () => void = () => undefined
  /** The connection is gone: null after a clean close. Exactly once. */
  onClose: (error: KithError | null) => void = () => undefined
  readonly #wire: Wire
  readonly #reader: FrameReader
  readonly #clock: Clock
  #cipher: RecordCipher
  #summary: KeyLease | undefined
  /** Messages that an earlier owner received and did not take. */
  #unread: Buffer[] = []
  #remoteEnded = false
  #endReported = false
  #closing = false
  #wireClosed = false
  #outcome: KithError | null | undefined
  #linger: Timer | undefined
  readonly #closed: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(wire: Wire, reader: FrameReader, established: Established, options: SessionOptions) {
    this.role = options.role
    this.localKey = options.localKey
    this.remoteKey = established.peer
    this.maxMessageBytes = options.maxMessageBytes
    this.#wire = wire
    this.#reader = reader
    this.#clock = options.clock
    this.#cipher = new RecordCipher(established.receiveKey)
    this.#summary = established.summary
    this.sender = new RecordSender(wire, new RecordCipher(established.sendKey), options.maxMessageBytes)
    reader.limit = Math.min(0xffff_ffff, options.maxMessageBytes + TAG_BYTES)
    reader.hold()
    reader.onFrame = (buffer, start, end) => this.#open(buffer, start, end)
    reader.onViolation = (error) => this.destroy(error)
    wire.onEnd = () => {
      this.#remoteEnded = true
      this.#reportEnd()
    }
    wire.onClose = (error) => this.#wireGone(error)
  }

  /** Undefined while open; null after a clean close. */
  get outcome(): KithError | null | undefined {
    return this.#outcome
  }

  /** Whether `close` was called or the connection is gone. */
  get finished(): boolean {
    return this.#closing || this.#outcome !== undefined
  }

  /** Resolves once when the connection is gone, in whatever way. */
  get closed(): Promise<void> {
    return this.#closed.promise
  }

  /** 32 bytes that follow from the handshake's transcript. @throws TypeError when its summary was taken or wiped. */
  derive(label: SummaryLabel): Uint8Array {
    if (this.#summary === undefined) throw new TypeError('the transcript of this stream is no longer at hand')
    const out = new Uint8Array(SUMMARY_BYTES)
    label.derive(out, this.#summary.bytes)
    return out
  }

  /** The secret summary of the handshake's transcript, to be wiped by the caller; it can be taken once. */
  takeSummary(): KeyLease | undefined {
    const summary = this.#summary
    this.#summary = undefined
    return summary
  }

  /** Sends under a new key from the next record on. */
  rekeySending(key: KeyLease): void {
    this.sender.rekey(new RecordCipher(key))
  }

  /** Opens under a new key from the next record on; to be called from `onRecord` or while held. */
  rekeyReceiving(key: KeyLease): void {
    this.#cipher.wipe()
    if (this.finished) key.release()
    else this.#cipher = new RecordCipher(key)
  }

  /** Gives back messages that were received but not taken, for the next owner. */
  putBack(messages: readonly Buffer[]): void {
    this.#unread.push(...messages)
  }

  /** Hands out nothing until `resume`. */
  hold(): void {
    this.#reader.hold()
  }

  /** Hands out what waits and what comes. */
  resume(): void {
    if (this.finished) return
    while (this.#unread.length > 0) {
      const message = this.#unread.shift() as Buffer
      if (!this.onRecord(message, 0, message.length) || this.finished) return
    }
    this.#reader.resume()
    this.#reportEnd()
  }

  /** Ends our half: what was sent leaves first. `done` runs when it has left or never will. */
  end(done?: () => void): void {
    if (!this.finished) this.sender.finish()
    this.#wire.end(done)
  }

  /** Sends what is staged, ends, and lets go within a second. Nothing is received any more. Idempotent. */
  close(): void {
    if (this.finished) return
    this.#closing = true
    this.sender.finish()
    this.#wipe()
    this.#reader.stop()
    if (this.#wireClosed) {
      this.#settle(null)
      return
    }
    this.#reader.onPause(false)
    this.#linger = this.#clock.after(LINGER_MS, () => this.#wire.destroy())
    this.#wire.end()
  }

  /** Ends at once. Idempotent. */
  destroy(error: KithError | null): void {
    if (this.#outcome !== undefined) return
    this.#settle(error)
    this.#wire.destroy()
  }

  #open(buffer: Buffer, start: number, end: number): boolean {
    if (!this.#cipher.open(buffer, start, end)) {
      this.destroy(new KithError('STREAM_CORRUPT'))
      return false
    }
    return this.onRecord(buffer, start, end - TAG_BYTES) && !this.finished
  }

  #reportEnd(): void {
    if (!this.#remoteEnded || this.#endReported || this.finished || this.#unread.length > 0 || this.#reader.held) return
    this.#endReported = true
    if (this.#reader.partial) {
      this.destroy(new KithError('LINK_LOST', 'the connection ended in the middle of a frame'))
      return
    }
    this.onEnd()
    if (this.#wireClosed) this.#settle(null)
  }

  #wireGone(error: Error | undefined): void {
    this.#wireClosed = true
    this.#linger?.cancel()
    const ended = this.#remoteEnded && error === undefined
    if (this.#closing || (ended && this.#endReported)) this.#settle(null)
    else if (ended) this.sender.destroy()
    else this.#settle(new KithError('LINK_LOST', undefined, error === undefined ? {} : { cause: error }))
  }

  #settle(outcome: KithError | null): void {
    if (this.#outcome !== undefined) return
    this.#outcome = outcome
    this.#linger?.cancel()
    this.sender.destroy()
    this.#wipe()
    this.#unread = []
    this.onClose(outcome)
    this.#closed.resolve()
  }

  #wipe(): void {
    this.#cipher.wipe()
    this.#summary?.release()
    this.#summary = undefined
  }
}
