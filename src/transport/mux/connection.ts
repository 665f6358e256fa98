import type { PublicKey } from '../../core/bytes.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { codeOfNumber, type ErrorCode, KithError, type KithErrorOptions } from '../../core/errors.ts'
import type { BytePipe } from '../../core/pipe.ts'
import { HeldMemory } from '../held-memory.ts'
import type { CloseInfo, Connection, LinkStream, MultiplexOptions, Path } from '../types.ts'
import { Fifo } from './fifo.ts'
import { FrameReader } from './frame-reader.ts'
import { FLAG_FIN, TYPE_GO_AWAY, TYPE_PING } from './frames.ts'
import { Inbox, type InboxPort } from './inbox.ts'
import { CLOSE_MS, INITIAL_WINDOW_BYTES } from './limits.ts'
import { Liveness, type LivenessPort } from './liveness.ts'
import { Outbox } from './outbox.ts'
import { PeerBudget } from './peer-budget.ts'
import { Poller } from './poller.ts'
import { type Settings, settings } from './settings.ts'
import { MuxStream } from './stream.ts'
import { StreamTable } from './stream-table.ts'

const U32_MAX = 0xffff_ffff

/** Who is at the two ends: found out by the transport before the multiplexer starts. */
export interface ConnectionInfo {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum: boolean
}

interface Waiter {
  resolve(stream: LinkStream): void
  reject(error: unknown): void
  done: boolean
}

/**
 * Runs the multiplexer over `pipe`, which it owns from here on; `frames.ts` has the wire format.
 * @throws TypeError for options out of range.
 */
export function multiplex(pipe: BytePipe, info: ConnectionInfo, clock: Clock, options: MultiplexOptions = {}): Connection {
  return new MuxConnection(pipe, info, settings(clock, options))
}

/** The streams of a connection, who may open more, and its end. Frames out: `Outbox`; frames in: `Inbox`; pings: `Liveness`. */
export class MuxConnection implements Connection, InboxPort, LivenessPort {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum: boolean
  readonly clock: Clock
  readonly closed: Promise<CloseInfo>
  readonly outbox: Outbox
  /** Undefined when only the windows bound what the peer may leave here. */
  readonly held: HeldMemory | undefined

  readonly #pipe: BytePipe
  readonly #settings: Settings
  readonly #inbox: Inbox
  readonly #reader: FrameReader
  readonly #liveness: Liveness
  readonly #poller: Poller | undefined
  readonly #streams = new StreamTable()
  #nextId: number
  #lastInbound = 0
  #inbound = 0
  #outbound = 0
  #windowLeft: number
  #bytesSeen = 0
  readonly #waiters = new Fifo<Waiter>()
  readonly #early = new Fifo<MuxStream>()
  #accept: ((stream: LinkStream) => void) | null = null

  #state: 'open' | 'closing' | 'closed' = 'open'
  #draining = false
  #peerDraining = false
  #info: CloseInfo = { error: null, remote: false }
  /** What is said to whoever still wants something after the end. */
  #over: KithError | null = null
  #closeTimer: Timer | null = null
  readonly #resolveClosed: (info: CloseInfo) => void

  constructor(pipe: BytePipe, info: ConnectionInfo, config: Settings) {
    this.role = info.role
    this.localKey = info.localKey
    this.remoteKey = info.remoteKey
    this.path = info.path
    this.postQuantum = info.postQuantum
    this.clock = config.clock
    this.#pipe = pipe
    this.#settings = config
    this.#nextId = info.role === 'dialer' ? 1 : 2
    this.#windowLeft = config.linkWindowBytes
    this.held = config.memory === undefined ? undefined : new HeldMemory(config.memory, () => this.#shed())
    const { promise, resolve } = Promise.withResolvers<CloseInfo>()
    this.closed = promise
    this.#resolveClosed = resolve
    const budget = new PeerBudget(config.clock)
    this.outbox = new Outbox(pipe, config.clock, budget, (stream) => this.forget(stream))
    this.#liveness = new Liveness(this, config.keepAliveMs)
    this.#poller = config.pollUs === undefined ? undefined : new Poller(config.clock, config.pollUs)
    this.#inbox = new Inbox(this, this.outbox, budget, this.#liveness)
    this.#reader = new FrameReader(this.#inbox)
    pipe.onData = (data, start, end) => this.#received(data, start, end)
    pipe.onFlush = () => {
      this.outbox.sendUpdates()
      this.#poller?.sent()
    }
    pipe.onDrain = () => this.#drained()
    pipe.onClose = (error) => this.#pipeClosed(error)
    process.nextTick(() => pipe.start())
  }

  get streamCount(): number {
    return this.#streams.size
  }
  get bytesIn(): number {
    return this.#inbox.bytes
  }
  get bytesOut(): number {
    return this.outbox.bytes
  }

  get onStream(): (stream: LinkStream) => void {
    return this.#accept ?? (() => {})
  }
  set onStream(accept: (stream: LinkStream) => void) {
    this.#accept = accept
    if (this.#early.size > 0) process.nextTick(() => this.#handOutEarly())
  }

  open(options: { signal?: AbortSignal } = {}): Promise<LinkStream> {
    const { signal } = options
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    const refused = this.#refusal()
    if (refused !== null) return Promise.reject(refused)
    if (this.#outbound < this.#settings.maxOutboundStreams && this.#waiters.size === 0) return Promise.resolve(this.#create())
    return this.#wait(signal)
  }

  ping(options: { signal?: AbortSignal } = {}): Promise<number> {
    return this.#liveness.ping(options.signal)
  }

  drain(): void {
    if (this.#draining || this.#state !== 'open') return
    this.#draining = true
    this.outbox.control(TYPE_GO_AWAY, 0, 0, 0)
    this.#refuseWaiters(new KithError('GOING_AWAY', 'The connection takes no new streams.'))
  }

  async close(number = 0, reason = ''): Promise<void> {
    if (!Number.isInteger(number) || number < 0 || number > U32_MAX) throw new TypeError('the number of an error is an unsigned 32-bit integer')
    const error = number === 0 ? null : new KithError(codeOfNumber(number), reason === '' ? undefined : reason, { details: { number } })
    this.#finish({ error, remote: false }, number)
    await this.closed
  }

  // For streams and the two boxes.

  get alive(): boolean {
    return this.#state === 'open'
  }

  get blocked(): boolean {
    return this.#pipe.blocked
  }

  sendPing(flags: number, opaque: number): void {
    this.outbox.control(TYPE_PING, flags, 0, opaque)
  }

  silent(): void {
    this.#pipe.destroy(new KithError('LINK_LOST', 'The peer stopped answering.'))
  }

  /** The stream consumes much: it gets its full window, as far as the link has any left. */
  grow(stream: MuxStream): void {
    const more = Math.min(this.#settings.windowBytes - stream.window, this.#windowLeft)
    if (more <= 0 || this.#settings.mayGrow?.() === false) return
    this.#windowLeft -= more
    stream.window += more
    stream.owed += more
    this.outbox.queueUpdate(stream)
  }

  find(id: number): MuxStream | undefined {
    return this.#streams.get(id)
  }

  wasOpened(id: number): boolean {
    return this.#isOwn(id) ? id < this.#nextId : id <= this.#lastInbound
  }

  accept(id: number): MuxStream | null {
    if (this.#isOwn(id) || id <= this.#lastInbound) {
      this.fail('MUX_PROTOCOL', 'The peer broke the rules of the multiplexer: number of a new stream.')
      return null
    }
    if (this.#inbound >= this.#settings.maxInboundStreams) {
      this.fail('MUX_LIMIT', 'The peer opened more streams than it may.')
      return null
    }
    this.#lastInbound = id
    this.#inbound += 1
    const stream = new MuxStream(this, id, true)
    this.#streams.add(stream)
    if (this.#accept === null || this.#early.size > 0) this.#early.push(stream)
    else this.#accept(stream)
    return this.#state === 'open' ? stream : null
  }

  /** A stream of the peer was reset here. */
  refused(number: number): void {
    this.#settings.onRefused?.(number)
  }

  /** Both directions of the stream have ended on the wire. */
  forget(stream: MuxStream): void {
    if (stream.gone) return
    stream.gone = true
    this.#streams.delete(stream)
    this.#windowLeft += stream.window - INITIAL_WINDOW_BYTES
    if (stream.inbound) this.#inbound -= 1
    else {
      this.#outbound -= 1
      this.#serveWaiters()
    }
  }

  peerDrains(): void {
    this.#peerDraining = true
    this.#refuseWaiters(new KithError('GOING_AWAY', undefined, { remote: true }))
  }

  peerCloses(error: KithError | null): void {
    if (this.#state === 'closing') this.#pipe.close()
    else this.#finish({ error, remote: true }, null)
  }

  fail(code: ErrorCode, message: string, options?: KithErrorOptions): void {
    const error = new KithError(code, message, options)
    this.#reader.stop()
    this.#finish({ error, remote: false }, error.number)
  }

  /** Runs what calls back into owners of streams: one that throws ends the connection, not the process. */
  guard(act: () => void): void {
    try {
      act()
    } catch (cause) {
      this.fail('INTERNAL', 'A callback of the connection threw.', { cause })
    }
  }

  #received(data: Buffer, start: number, end: number): void {
    if (this.#state === 'closed') return
    this.#liveness.heard()
    this.#poller?.received()
    this.guard(() => {
      this.#reader.push(data, start, end)
      this.outbox.pump()
      if (this.held !== undefined) this.#settle(this.held)
      if (this.outbox.choked) this.fail('MUX_LIMIT', 'The peer does not read the answers it asks for.')
    })
  }

  #drained(): void {
    if (this.#state !== 'open') return
    this.outbox.drained()
    this.#liveness.drained()
    this.guard(() => this.outbox.pump())
  }

  #settle(held: HeldMemory): void {
    if (this.#state !== 'open') return
    const seen = this.bytesIn + this.bytesOut
    held.settle(seen !== this.#bytesSeen)
    this.#bytesSeen = seen
  }

  /** There is no memory left for this peer: the stream that holds most of it ends. */
  #shed(): boolean {
    let largest: MuxStream | undefined
    for (const stream of this.#streams.all()) if (stream.unreturned > (largest?.unreturned ?? 0)) largest = stream
    if (largest === undefined) {
      this.fail('BUDGET_EXCEEDED', 'The peer left more bytes here than it may.')
      return false
    }
    largest.refuse(new KithError('BUDGET_EXCEEDED', 'The stream held more bytes than this peer may leave here.'))
    return true
  }

  #isOwn(id: number): boolean {
    return id % 2 === this.#nextId % 2
  }

  #handOutEarly(): void {
    this.guard(() => {
      for (let stream = this.#early.shift(); stream !== undefined; stream = this.#early.shift()) this.#accept?.(stream)
    })
  }

  #create(): MuxStream {
    const stream = new MuxStream(this, this.#nextId, false)
    this.#nextId += 2
    this.#outbound += 1
    this.#streams.add(stream)
    this.outbox.opened(stream)
    return stream
  }

  #wait(signal: AbortSignal | undefined): Promise<LinkStream> {
    return new Promise((resolve, reject) => {
      const finish = (): boolean => {
        if (waiter.done) return false
        waiter.done = true
        signal?.removeEventListener('abort', abort)
        return true
      }
      const waiter: Waiter = {
        done: false,
        resolve: (stream) => {
          if (finish()) resolve(stream)
        },
        reject: (error) => {
          if (finish()) reject(error)
        },
      }
      const abort = (): void => waiter.reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiters.push(waiter)
    })
  }

  #serveWaiters(): void {
    while (this.#outbound < this.#settings.maxOutboundStreams && this.#refusal() === null) {
      const waiter = this.#waiters.shift()
      if (waiter === undefined) return
      if (!waiter.done) waiter.resolve(this.#create())
    }
  }

  #refuseWaiters(error: KithError): void {
    for (let waiter = this.#waiters.shift(); waiter !== undefined; waiter = this.#waiters.shift()) waiter.reject(error)
  }

  /** Why no stream can be opened, or null. */
  #refusal(): KithError | null {
    if (this.#over !== null) return this.#over
    if (!this.#draining && !this.#peerDraining && this.#nextId <= U32_MAX) return null
    return new KithError('GOING_AWAY', 'The connection takes no new streams.', { remote: this.#peerDraining })
  }

  /**
   * Ends the connection once. With a number the other side is told, and answers by ending the pipe; without one it has told us, and ending the pipe is
   * our answer. Either way the pipe is gone after a second.
   */
  #finish(info: CloseInfo, number: number | null): void {
    if (this.#state !== 'open') return
    this.outbox.sendUpdates()
    if (number !== null) this.outbox.control(TYPE_GO_AWAY, FLAG_FIN, 0, number)
    this.#state = 'closing'
    this.#info = info
    this.#endStreams()
    this.#closeTimer = this.clock.after(CLOSE_MS, () => this.#pipe.destroy(new KithError('LINK_CLOSED')), { keepAlive: true })
    if (number === null) this.#pipe.close()
    else this.#pipe.flush()
  }

  #pipeClosed(cause: KithError | null): void {
    if (this.#state === 'closed') return
    const before = this.#state
    this.#state = 'closed'
    this.#reader.stop()
    this.#closeTimer?.cancel()
    if (before === 'open') {
      this.#info = cause === null && this.#peerDraining ? { error: null, remote: true } : { error: lost(cause), remote: false }
      this.#endStreams()
    }
    this.#resolveClosed(this.#info)
  }

  #endStreams(): void {
    const error = this.#info.error ?? new KithError('LINK_CLOSED', undefined, { remote: this.#info.remote })
    const told = error.code === 'LINK_LOST' || error.code === 'LINK_CLOSED'
    this.#over = told ? error : new KithError('LINK_CLOSED', undefined, { cause: error, remote: this.#info.remote })
    this.outbox.end()
    this.#poller?.end()
    this.#liveness.end(this.#over)
    this.#refuseWaiters(this.#over)
    this.#early.clear()
    for (const stream of this.#streams.drain()) stream.abandoned(error)
    this.held?.end()
  }
}

/** A pipe that broke by itself is a lost link; what the pipe found wrong with its bytes keeps its name. */
function lost(cause: KithError | null): KithError {
  if (cause === null) return new KithError('LINK_LOST', 'The other side ended the connection without a word.')
  if (cause.code === 'LINK_LOST' || cause.code === 'STREAM_CORRUPT') return cause
  return new KithError('LINK_LOST', undefined, { cause })
}
