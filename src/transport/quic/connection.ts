import type { PublicKey } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { codeOfNumber, KithError, remoteError } from '../../core/errors.ts'
import { HeldMemory } from '../held-memory.ts'
import { PeerBudget } from '../mux/peer-budget.ts'
import type { CloseInfo, Connection, LinkStream, MultiplexOptions, Path } from '../types.ts'
import type { QuicLink } from './channel.ts'
import { ChunkPool } from './chunks.ts'
import { peerError } from './errors.ts'
import { CONTROL_BYTES, type Control, decodeControl, encodeControl, trimReason } from './frames.ts'
import type { NativeStream } from './native.ts'
import { NativeMemory } from './native-memory.ts'
import { giveBack, openNative } from './native-streams.ts'
import { nothing } from './nothing.ts'
import { OpenSlots } from './open-slots.ts'
import { PacedCuts } from './paced-cuts.ts'
import { Pings } from './pings.ts'
import { QuicStream, type StreamOwner } from './stream.ts'
import { Totals } from './totals.ts'

/** Streams that either side may have open at once; the library's own limit of 101 has room for the first stream. */
export const STREAM_LIMIT = 100
/** How long each side waits for the end of a close. */
const CLOSE_MS = 1_000
/** How long native calls of a cut stream may stay pending. */
const SETTLE_MS = 5_000
/** How long a native reset waits for the message with its code. */
const CODE_MS = 1_000
/** Control bytes that a peer may leave unread. */
const CONTROL_QUEUE_BYTES = 256 * 1024
/** What a stream that is cut may have left unread in the library: its window. */
const CUT_BYTES = 1 << 20
/** Resets and stops of streams not seen yet. */
const EARLY_LIMIT = 2 * STREAM_LIMIT

/** Streams of one native connection, with the codes, the clean close and the pings that the library lacks (`frames.ts`). */
export class QuicConnection implements Connection, StreamOwner {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum = false
  readonly closed: Promise<CloseInfo>
  readonly pool: ChunkPool = new ChunkPool()
  readonly held: HeldMemory | undefined
  readonly #nativeMemory: NativeMemory | undefined
  readonly #link: QuicLink
  readonly #totals = new Totals()
  readonly #streams = new Map<number, QuicStream>()
  readonly #early = new Map<number, Control<'reset' | 'stop'>>()
  readonly #slots: OpenSlots
  readonly #pings: Pings
  readonly #budget: PeerBudget
  readonly #cuts: PacedCuts
  readonly #maxInbound: number
  readonly #onRefused: ((number: number) => void) | undefined
  #inbound = 0
  #nextInbound: number
  #accepting = false
  #onStream: ((stream: LinkStream) => void) | undefined
  readonly #arrived: QuicStream[] = []
  #state: 'open' | 'closing' | 'closed by peer' | 'ended' = 'open'
  #draining = false
  #info: CloseInfo = { error: new KithError('LINK_LOST'), remote: false }
  #timer: Timer | undefined
  #resolveClosed: (info: CloseInfo) => void = nothing

  constructor(link: QuicLink, early: readonly Uint8Array[], options: MultiplexOptions) {
    const { first, native } = link
    this.#link = link
    this.role = link.role
    this.localKey = link.localKey
    this.remoteKey = link.remoteKey
    this.path = link.path
    this.#onRefused = options.onRefused
    this.#maxInbound = Math.min(options.maxInboundStreams ?? STREAM_LIMIT, STREAM_LIMIT)
    this.#slots = new OpenSlots(Math.min(options.maxOutboundStreams ?? STREAM_LIMIT, STREAM_LIMIT))
    this.#nextInbound = link.role === 'listener' ? 1 : 0
    this.#pings = new Pings(link.clock, link.random, (nonce) => this.#send({ type: 'ping', nonce }))
    this.#budget = new PeerBudget(link.clock)
    this.#cuts = new PacedCuts(link.clock, (message) => this.#send(message))
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    first.limit = CONTROL_BYTES
    first.onFrame = (payload) => this.#frame(payload)
    first.onEnd = () => this.#finish()
    first.onError = (error) => (error.code === 'LINK_LOST' ? this.#finish() : this.#lose(new KithError('MUX_PROTOCOL', undefined, { cause: error })))
    const { memory } = options
    this.held = memory === undefined ? undefined : new HeldMemory(memory, () => this.#shed())
    this.#nativeMemory =
      memory === undefined
        ? undefined
        : new NativeMemory({
            clock: link.clock,
            counts: () => ({ udp: native.stats().udpRxBytes, received: this.bytesIn, sent: this.bytesOut }),
            onChange: (bytes) => this.#nativeHolds(bytes),
          })
    for (const payload of early) this.#frame(payload)
    native.closed().then(
      () => this.#finish(),
      () => this.#finish(),
    )
    first.start()
    this.#accept()
  }

  get connection(): Connection {
    return this
  }
  get clock(): Clock {
    return this.#link.clock
  }
  get bytesIn(): number {
    return this.#totals.bytesIn
  }
  get bytesOut(): number {
    return this.#totals.bytesOut
  }
  get streamCount(): number {
    return this.#streams.size
  }
  get onStream(): (stream: LinkStream) => void {
    return this.#onStream ?? nothing
  }
  set onStream(callback: (stream: LinkStream) => void) {
    this.#onStream = callback
    for (const stream of this.#arrived.splice(0)) callback(stream)
  }

  async open(options: { signal?: AbortSignal } = {}): Promise<LinkStream> {
    await this.#slots.acquire(options.signal)
    try {
      return this.#adopt(await openNative(this.#link.native, options.signal, () => (this.#state === 'open' ? undefined : this.#over())), false)
    } catch (error) {
      this.#slots.release()
      throw error
    }
  }

  ping(options: { signal?: AbortSignal } = {}): Promise<number> {
    return this.#pings.ping(options.signal)
  }

  drain(): void {
    if (this.#draining || this.#state !== 'open') return
    this.#send({ type: 'drain' })
    this.#drained()
  }

  async close(number = 0, reason = ''): Promise<void> {
    if (!Number.isInteger(number) || number < 0 || number > 0xffff_ffff) throw new TypeError('the number of an error is an unsigned 32-bit integer')
    if (this.#state === 'open') {
      this.#state = 'closing'
      const error = number === 0 ? null : new KithError(codeOfNumber(number), reason === '' ? undefined : reason, { details: { number } })
      this.#stopOpening({ error, remote: false })
      this.#send({ type: 'close', code: number, sent: this.#totals.sent, reason: trimReason(reason) })
    }
    await this.closed
  }

  // What streams use.

  cut(type: 'reset' | 'stop', stream: QuicStream, code: number): void {
    this.#nativeMemory?.forgive(CUT_BYTES)
    this.#cuts.send({ type, opener: stream.id % 2, index: stream.index, code })
    if (type === 'reset' && stream.inbound) this.#onRefused?.(code)
  }
  sent(length: number): void {
    this.#totals.addSent(length)
  }
  received(length: number): void {
    this.#totals.addReceived(length)
    if (this.#state === 'closed by peer') this.#answerClose()
  }
  settle(): void {
    if (this.#state !== 'ended') this.held?.settle(true)
  }
  uncount(sent: number, received: number): void {
    this.#totals.uncount(sent, received)
  }
  awaitCode(run: () => void): void {
    this.#link.clock.after(CODE_MS, run)
  }
  watch(stream: QuicStream): void {
    if (this.#state === 'ended') return
    this.#link.clock.after(SETTLE_MS, () => {
      if (!stream.settled) this.#lose(new KithError('LINK_LOST', 'the peer did not let go of a stream'))
    })
  }
  ended(stream: QuicStream): void {
    if (!this.#streams.delete(stream.id)) return
    if (!stream.inbound) {
      this.#slots.release()
      return
    }
    this.#inbound--
    this.#accept()
  }

  // Memory.

  #nativeHolds(bytes: number): void {
    if (bytes <= 0) {
      this.held?.remove(-bytes)
      return
    }
    this.held?.add(bytes)
    if (this.#state !== 'ended') this.held?.settle(false)
  }

  /** There is no memory left for this peer: the stream that holds most of it ends, or the connection when none does. */
  #shed(): boolean {
    let largest: QuicStream | undefined
    for (const stream of this.#streams.values()) if (stream.unreturned > (largest?.unreturned ?? 0)) largest = stream
    const error = new KithError('BUDGET_EXCEEDED', 'the peer left more bytes here than it may')
    if (largest === undefined) this.#lose(error)
    else largest.refuse(error)
    return largest !== undefined
  }

  // Streams.

  #adopt(native: NativeStream, inbound: boolean): QuicStream {
    const stream = new QuicStream(this, native, Number(native.id()), (this.role === 'dialer') !== inbound, inbound)
    this.#streams.set(stream.id, stream)
    return stream
  }

  #accept(): void {
    if (this.#accepting || this.#inbound >= this.#maxInbound || (this.#state !== 'open' && this.#state !== 'closed by peer')) return
    this.#accepting = true
    this.#link.native.inboundStream().then(
      (native) => {
        this.#accepting = false
        if (this.#state !== 'open' && this.#state !== 'closed by peer') return giveBack(native)
        this.#inboundStream(this.#adopt(native, true))
        this.#accept()
      },
      () => {
        this.#accepting = false
      },
    )
  }

  #inboundStream(stream: QuicStream): void {
    this.#inbound++
    this.#nextInbound = stream.index + 1
    const early = this.#early.get(stream.id)
    this.#early.delete(stream.id)
    if (early?.type === 'reset') {
      stream.discard()
      return
    }
    if (this.#onStream === undefined) this.#arrived.push(stream)
    else this.#onStream(stream)
    if (early !== undefined) stream.stopped(early.code)
  }

  // Control.

  #send(message: Control): void {
    if (this.#state === 'ended') return
    this.#link.first.send(encodeControl(message))
    if (this.#link.first.queued > CONTROL_QUEUE_BYTES) this.#lose(new KithError('MUX_LIMIT', 'the peer does not read its control messages'))
  }

  #frame(payload: Uint8Array): void {
    if (this.#state === 'ended') return
    let message: Control | undefined
    try {
      message = decodeControl(payload)
    } catch (cause) {
      this.#lose(new KithError('MUX_PROTOCOL', undefined, { cause }))
      return
    }
    if (message === undefined) return
    if (message.type === 'reset' || message.type === 'stop') this.#cutByPeer(message)
    else if (message.type === 'close') this.#closeByPeer(message)
    else if (message.type === 'closed') this.#finish()
    else if (message.type === 'drain') this.#drained()
    else if (message.type === 'ping') this.#pinged(message.nonce)
    else this.#pings.pong(message.nonce)
  }

  #pinged(nonce: Uint8Array): void {
    if (this.#budget.ping()) this.#send({ type: 'pong', nonce })
    else this.#lose(new KithError('MUX_LIMIT', 'the peer sends too many pings'))
  }

  #cutByPeer(message: Control<'reset' | 'stop'>): void {
    if (!this.#budget.reset()) {
      this.#lose(new KithError('MUX_LIMIT', 'the peer resets too many streams'))
      return
    }
    if (message.opener > 1) {
      this.#lose(new KithError('MUX_PROTOCOL'))
      return
    }
    const id = message.index * 2 + message.opener
    const stream = this.#streams.get(id)
    if (stream !== undefined) {
      if (message.type === 'stop') stream.stopped(message.code)
      else stream.fail(peerError(message.code))
      return
    }
    const openedHere = (message.opener === 0) === (this.role === 'dialer')
    if (openedHere || message.index < this.#nextInbound) return
    if (this.#early.size >= EARLY_LIMIT) {
      this.#lose(new KithError('MUX_LIMIT', 'the peer resets streams that it does not open'))
      return
    }
    if (this.#early.get(id)?.type !== 'reset') this.#early.set(id, message)
  }

  // The end.

  #drained(): void {
    this.#draining = true
    if (this.#state === 'open') this.#slots.close(new KithError('GOING_AWAY'))
  }

  #stopOpening(info: CloseInfo): void {
    this.#info = info
    this.#slots.close(this.#over())
    this.#timer = this.#link.clock.after(CLOSE_MS, () => this.#finish(), { keepAlive: true })
  }

  #closeError(): KithError {
    return this.#info.error ?? new KithError('LINK_CLOSED', undefined, { remote: this.#info.remote })
  }

  /** What callers hear who come too late. */
  #over(): KithError {
    const error = this.#closeError()
    return error.code === 'LINK_LOST' || error.code === 'LINK_CLOSED' ? error : new KithError('LINK_CLOSED', undefined, { cause: error })
  }

  #closeByPeer(message: Extract<Control, { type: 'close' }>): void {
    if (this.#state !== 'open') {
      this.#send({ type: 'closed' })
      return
    }
    this.#state = 'closed by peer'
    this.#stopOpening({ error: message.code === 0 ? null : remoteError(message.code, message.reason), remote: true })
    this.#totals.expect(message.sent)
    this.#answerClose()
  }

  #answerClose(): void {
    if (this.#totals.takeComplete()) this.#send({ type: 'closed' })
  }

  #lose(error: KithError): void {
    if (this.#state === 'ended') return
    this.#link.logger.debug('quic.connection_ended', { address: this.path.address, code: error.code })
    this.#info = { error, remote: false }
    this.#finish()
  }

  /** Nothing more is to come, from either side: every caller hears why. */
  #finish(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#timer?.cancel()
    this.#link.native.abort()
    this.#link.first.drop()
    this.#slots.close(this.#over())
    this.#pings.close(this.#over())
    this.#cuts.close()
    this.#nativeMemory?.end()
    const error = this.#closeError()
    for (const stream of [...this.#streams.values()]) stream.fail(error)
    this.held?.end()
    this.#arrived.length = 0
    this.#early.clear()
    this.#resolveClosed(this.#info)
  }
}
