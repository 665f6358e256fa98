import { concat, equalSecret, type PublicKey } from '../core/bytes.ts'
import { encapsulate, generateMlKem768, isEncapsulationKey, MLKEM_CIPHERTEXT_BYTES, MLKEM_ENCAPSULATION_KEY_BYTES } from '../core/crypto/mlkem.ts'
import { KithError } from '../core/errors.ts'
import type { KeyLease } from '../core/key-slab.ts'
import type { BytePipe } from '../core/pipe.ts'
import type { Secret } from '../core/secret.ts'
import { EncryptedStream } from './encrypted-stream.ts'
import { Inbox } from './inbox.ts'
import { type PostQuantumSchedule, postQuantumSchedule } from './postquantum-schedule.ts'
import { RecordPipe } from './record-pipe.ts'
import type { Session } from './session.ts'

/**
 * # The post-quantum step
 *
 * ML-KEM-768 beside the handshake's X25519, inside the encrypted stream, so that what is recorded today stays closed to a later quantum computer. Mandatory in
 * the namespace `icn/stream/v1` and absent from every other one: nothing is negotiated, nothing can be downgraded. (protocol.md, PN-3)
 *
 * ## Design
 *
 * ```text
 * dialer                                                   listener
 *   OFFER   4b 01 01 | ek 1184                   key 1 ->      right behind the handshake's Ack
 *   one message                                  key 1 ->
 *                         <- key 1   ANSWER  4b 02 01 | ct 1088 | confirmation 32
 *                         <- key 2   messages
 *   DONE    4b 03 01 | confirmation 32           key 1 ->      right before the dialer's next message
 *   messages                                     key 2 ->
 * ```
 *
 * Each direction changes its key at one place and starts counting again from 0. A wrong ciphertext shows as a wrong confirmation.
 * Messages are taken one by one as they are asked for: what follows the last one is left for the pipe.
 *
 * ## Requirements
 *
 * - A fresh stream of the namespace, `maxMessageBytes` of 65,536 or more, from which nothing was sent or received.
 * - The caller bounds the time of the preface; its size is bounded here, 32 KiB per side.
 *
 * ## Provided
 *
 * - Keys that need both the X25519 and the ML-KEM secret; a channel binding that both sides can sign.
 * - Strict order: anything unexpected ends the connection with `LINK_PQ_FAILED`.
 *
 * ## Not provided
 *
 * - Post-quantum secrecy of the dialer's first message: it leaves before the answer.
 * - Post-quantum authentication: that is what the signatures over the channel binding are for.
 *
 * ## Example
 *
 * ```ts
 * const channel = postQuantumDialer(await dial(socket, { ...config, namespace: LINK_NAMESPACE, maxMessageBytes: LINK_MESSAGE_BYTES, peer }))
 * channel.send(hello)
 * const answer = await channel.receive({ signal })
 * channel.send(sign(channel.channelBinding))
 * const pipe = channel.toPipe()
 * ```
 */
export const LINK_NAMESPACE = 'icn/stream/v1'
export const LINK_MESSAGE_BYTES = 65_536

/** Most bytes of messages each side may send before it turns the channel into a pipe. */
export const PREFACE_BYTES = 32_768

const OFFER = Uint8Array.of(0x4b, 0x01, 0x01)
const ANSWER = Uint8Array.of(0x4b, 0x02, 0x01)
const DONE = Uint8Array.of(0x4b, 0x03, 0x01)
const TAG_BYTES = 3
const CONFIRMATION_BYTES = 32
const OFFER_BYTES: number = TAG_BYTES + MLKEM_ENCAPSULATION_KEY_BYTES
const ANSWER_HEAD_BYTES: number = TAG_BYTES + MLKEM_CIPHERTEXT_BYTES
const ANSWER_BYTES: number = ANSWER_HEAD_BYTES + CONFIRMATION_BYTES
const DONE_BYTES: number = TAG_BYTES + CONFIRMATION_BYTES

/** A channel of whole messages under post-quantum keys, before it becomes a pipe. */
export interface PostQuantumChannel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  /** 32 bytes that only the two ends share. @throws TypeError before the first message was received. */
  readonly channelBinding: Uint8Array
  /** Resolves when the connection is gone. Never rejects. */
  readonly closed: Promise<void>
  /**
   * Sends at the end of the turn, in order. What may not leave yet waits for the step.
   * @throws KithError `CLOSED`, `MESSAGE_TOO_LARGE` beyond 32 KiB in all; TypeError for bytes that begin like a message of the step.
   */
  send(message: Uint8Array): void
  /** @throws KithError `LINK_PQ_FAILED`, `STREAM_CORRUPT`, `FRAME_TOO_LARGE`, `LINK_LOST`, `CLOSED`; the signal's reason. */
  receive(options?: { signal?: AbortSignal }): Promise<Uint8Array>
  /** Ends the channel; whatever arrived and was not received belongs to the pipe. @throws TypeError before the step is through or twice. */
  toPipe(): BytePipe
  /** What was sent leaves, then the connection ends, within a second. Idempotent. */
  close(): Promise<void>
  /** Ends at once. Idempotent. */
  destroy(error: KithError): void
}

/** Takes over a stream that was just dialled. @throws TypeError when it is not fresh or of the other role; KithError with what ended it. */
export function postQuantumDialer(stream: EncryptedStream): PostQuantumChannel {
  return new DialerChannel(claim(stream, 'dialer'))
}

/** Takes over a stream that was just accepted. @throws TypeError when it is not fresh or of the other role; KithError with what ended it. */
export function postQuantumListener(stream: EncryptedStream): PostQuantumChannel {
  return new ListenerChannel(claim(stream, 'listener'))
}

function claim(stream: EncryptedStream, role: 'dialer' | 'listener'): Session {
  if (stream.role !== role) throw new TypeError(`the stream's role is ${stream.role}`)
  if (stream.maxMessageBytes < LINK_MESSAGE_BYTES) throw new TypeError(`maxMessageBytes must be at least ${LINK_MESSAGE_BYTES}`)
  return EncryptedStream.session(stream)
}

abstract class Channel implements PostQuantumChannel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  protected readonly session: Session
  protected binding: Uint8Array | undefined
  readonly #inbox: Inbox = new Inbox()
  readonly #summary: KeyLease
  #waiting: Uint8Array[] = []
  #sentBytes = 0
  #receivedBytes = 0
  #piped = false

  constructor(session: Session) {
    const summary = session.takeSummary()
    if (summary === undefined) throw session.outcome ?? new KithError('CLOSED')
    this.#summary = summary
    this.session = session
    this.role = session.role
    this.localKey = session.localKey
    this.remoteKey = session.remoteKey
    session.onRecord = (buffer, start, end) => this.#take(buffer, start, end)
    session.onEnd = () => {
      this.#inbox.end(new KithError('LINK_LOST', 'the other side ended the connection'))
      session.close()
    }
    session.onClose = (error) => {
      this.#summary.release()
      this.wipe()
      this.#inbox.end(error ?? new KithError('CLOSED'))
    }
  }

  get channelBinding(): Uint8Array {
    if (this.binding === undefined) throw new TypeError('the channel binding is not known before the first message was received')
    return Uint8Array.from(this.binding)
  }

  get closed(): Promise<void> {
    return this.session.closed
  }

  send(message: Uint8Array): void {
    if (!(message instanceof Uint8Array)) throw new TypeError('a message is a Uint8Array')
    if (message[0] === 0x4b && (message[1] as number) >= 0x01 && (message[1] as number) <= 0x03) throw new TypeError('4b 01 to 4b 03 belong to the step')
    if (this.#piped) throw new TypeError('the channel became a pipe')
    if (this.session.finished) throw this.session.outcome ?? new KithError('CLOSED')
    this.#sentBytes += message.length
    if (this.#sentBytes > PREFACE_BYTES) {
      this.#sentBytes -= message.length
      throw new KithError('MESSAGE_TOO_LARGE', undefined, { details: { length: message.length, limit: PREFACE_BYTES - this.#sentBytes } })
    }
    if (this.#waiting.length === 0 && this.maySend()) this.session.sender.message(message)
    else this.#waiting.push(Uint8Array.from(message))
  }

  async receive(options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    if (this.#piped) throw new TypeError('the channel became a pipe')
    const next = this.#inbox.take(options.signal)
    if (this.#inbox.wanted) this.session.resume()
    const message = await next
    if (message === undefined) throw new KithError('CLOSED')
    return message
  }

  toPipe(): BytePipe {
    if (this.#piped) throw new TypeError('the channel became a pipe before')
    if (this.#inbox.wanted) throw new TypeError('somebody still waits for a message of this channel')
    this.beforePipe()
    this.#piped = true
    this.session.hold()
    this.session.putBack(this.#inbox.drain())
    return new RecordPipe(this.session)
  }

  close(): Promise<void> {
    this.#inbox.end(new KithError('CLOSED'))
    this.session.close()
    return this.session.closed
  }

  destroy(error: KithError): void {
    this.session.destroy(error)
  }

  /** Whether a message may leave now; may send what has to leave before it. */
  protected abstract maySend(): boolean
  /** Takes a message of the step; `message` to pass it on, `step` when it was one, `bad` when it must not come now. */
  protected abstract step(message: Buffer): 'message' | 'step' | 'bad'
  /** Sends what is still owed. @throws TypeError when the step is not through. */
  protected abstract beforePipe(): void
  /** Wipes what is secret. Called whenever the connection ends. */
  protected abstract wipe(): void

  /** Derives the second keys; wipes the first summary and the KEM's secret. */
  protected derive(offer: Uint8Array, answer: Uint8Array, shared: Secret): PostQuantumSchedule {
    try {
      const schedule = shared.use((bytes) => postQuantumSchedule(this.#summary.bytes, offer, answer, bytes))
      this.binding = schedule.channelBinding
      return schedule
    } finally {
      shared.wipe()
      this.#summary.release()
    }
  }

  /** Messages that had to wait. */
  protected sendWaiting(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const message of waiting) if (this.maySend()) this.session.sender.message(message)
  }

  #take(buffer: Buffer, start: number, end: number): boolean {
    const message = buffer.subarray(start, end)
    this.#receivedBytes += message.length
    let kind: 'message' | 'step' | 'bad'
    try {
      kind = this.#receivedBytes > PREFACE_BYTES ? 'bad' : this.step(message)
    } catch {
      kind = 'bad'
    }
    if (kind === 'bad') this.session.destroy(new KithError('LINK_PQ_FAILED'))
    else if (kind === 'message') this.#inbox.push(Buffer.from(message))
    return kind === 'step' || this.#inbox.wanted
  }
}

class DialerChannel extends Channel {
  readonly #kem = generateMlKem768()
  readonly #offer: Uint8Array = concat(OFFER, this.#kem.encapsulationKey)
  #messages = 0
  #next: PostQuantumSchedule | undefined
  #done = false

  constructor(session: Session) {
    super(session)
    session.sender.message(this.#offer)
    session.resume()
  }

  protected maySend(): boolean {
    if (this.#done) return true
    if (this.#next === undefined) return this.#messages++ === 0
    this.#sendDone(this.#next)
    return true
  }

  protected step(message: Buffer): 'message' | 'step' | 'bad' {
    if (this.binding !== undefined) return 'message'
    if (!is(message, ANSWER, ANSWER_BYTES)) return 'bad'
    const answer = message.subarray(0, ANSWER_HEAD_BYTES)
    const schedule = this.derive(this.#offer, answer, this.#kem.decapsulate(message.subarray(TAG_BYTES, ANSWER_HEAD_BYTES)))
    this.#kem.close()
    this.#next = schedule
    if (!equalSecret(schedule.confirmationL2d, message.subarray(ANSWER_HEAD_BYTES))) return 'bad'
    this.session.rekeyReceiving(schedule.keyL2d)
    this.sendWaiting()
    return 'step'
  }

  protected beforePipe(): void {
    if (this.#next === undefined && !this.#done) throw new TypeError('the post-quantum step is not through')
    if (this.#next !== undefined) this.#sendDone(this.#next)
  }

  protected wipe(): void {
    this.#kem.close()
    this.#next?.keyD2l.release()
    this.#next?.keyL2d.release()
    this.#next = undefined
  }

  #sendDone(schedule: PostQuantumSchedule): void {
    this.#next = undefined
    this.#done = true
    this.session.sender.message(concat(DONE, schedule.confirmationD2l))
    this.session.rekeySending(schedule.keyD2l)
  }
}

class ListenerChannel extends Channel {
  #early = 0
  #next: PostQuantumSchedule | undefined
  #done = false

  constructor(session: Session) {
    super(session)
    session.resume()
  }

  protected maySend(): boolean {
    return this.binding !== undefined
  }

  protected step(message: Buffer): 'message' | 'step' | 'bad' {
    if (this.#done) return 'message'
    if (this.#next === undefined) return this.#answer(message)
    if (!is(message, DONE, DONE_BYTES)) return this.#early++ === 0 ? 'message' : 'bad'
    if (!equalSecret(this.#next.confirmationD2l, message.subarray(TAG_BYTES))) return 'bad'
    this.session.rekeyReceiving(this.#next.keyD2l)
    this.#next = undefined
    this.#done = true
    return 'step'
  }

  protected beforePipe(): void {
    if (!this.#done) throw new TypeError('the post-quantum step is not through')
  }

  protected wipe(): void {
    this.#next?.keyD2l.release()
    this.#next?.keyL2d.release()
    this.#next = undefined
  }

  #answer(message: Buffer): 'step' | 'bad' {
    if (!is(message, OFFER, OFFER_BYTES)) return 'bad'
    const key = message.subarray(TAG_BYTES)
    if (!isEncapsulationKey(key)) return 'bad'
    const { ciphertext, sharedSecret } = encapsulate(key)
    const answer = concat(ANSWER, ciphertext)
    const schedule = this.derive(message, answer, sharedSecret)
    this.#next = schedule
    this.session.sender.message(concat(answer, schedule.confirmationL2d))
    this.session.rekeySending(schedule.keyL2d)
    this.sendWaiting()
    return 'step'
  }
}

function is(message: Buffer, tag: Uint8Array, length: number): boolean {
  return message.length === length && tag.every((byte, at) => message[at] === byte)
}
