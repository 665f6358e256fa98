import { nextTick } from 'node:process'
import type { Clock, Timer } from '../../core/clock.ts'
import type { BytePipe } from '../../core/pipe.ts'
import { Fifo } from './fifo.ts'
import { FLAG_FIN, FLAG_RST, FLAG_STOP, FLAG_SYN, HEADER_BYTES, TYPE_DATA, TYPE_WINDOW_UPDATE, writeHeader } from './frames.ts'
import { MAX_FRAME_BYTES, OWN_RESET_BURST, OWN_RESETS_PER_SECOND, QUANTUM_BYTES, TokenBucket, UNREAD_CONTROL_BYTES } from './limits.ts'
import type { PeerBudget } from './peer-budget.ts'
import type { MuxStream } from './stream.ts'

/**
 * Everything a connection writes. Frames go straight into the pipe's staging buffer; streams that wait stand in the ready set and are visited in turn;
 * credit rides along with whatever is flushed.
 */
export class Outbox {
  bytes = 0

  readonly #pipe: BytePipe
  readonly #clock: Clock
  readonly #budget: PeerBudget
  readonly #forget: (stream: MuxStream) => void
  /** Opened here and not yet announced, in order of their numbers. */
  readonly #unannounced = new Fifo<MuxStream>()
  /** Streams that have queued bytes and window for them. */
  readonly #ready = new Fifo<MuxStream>()
  readonly #updates: MuxStream[] = []
  readonly #resets = new Fifo<{ stream: MuxStream; number: number }>()
  readonly #resetTokens: TokenBucket
  #resetTimer: Timer | null = null
  #unread = 0
  #pumping = false
  #updatesScheduled = false
  #announceScheduled = false
  #over = false

  constructor(pipe: BytePipe, clock: Clock, budget: PeerBudget, forget: (stream: MuxStream) => void) {
    this.#pipe = pipe
    this.#clock = clock
    this.#budget = budget
    this.#forget = forget
    this.#resetTokens = new TokenBucket(clock, OWN_RESET_BURST, OWN_RESETS_PER_SECOND)
  }

  /** Whether a stream may write past its queue: the pipe takes bytes and nobody waits. */
  get clear(): boolean {
    return this.#ready.size === 0 && !this.#pipe.blocked
  }

  get blocked(): boolean {
    return this.#pipe.blocked
  }

  /** The peer makes us answer without end and does not read. */
  get choked(): boolean {
    return this.#unread > UNREAD_CONTROL_BYTES
  }

  /** The pipe takes bytes again. */
  drained(): void {
    this.#unread = 0
  }

  /** Sends what window and pipe take and returns where it stopped. */
  sendNow(stream: MuxStream, data: Uint8Array, start: number, end: number): number {
    let at = start
    while (at < end && stream.sendWindow > 0 && !this.#pipe.blocked) {
      const length = Math.min(end - at, stream.sendWindow, MAX_FRAME_BYTES)
      this.#sendData(stream, data, at, at + length)
      at += length
    }
    return at
  }

  join(stream: MuxStream): void {
    if (stream.ready) return
    stream.ready = true
    this.#ready.push(stream)
  }

  /** A stream was opened: its first frame carries SYN. If the owner writes nothing in this turn, a frame of its own does. */
  opened(stream: MuxStream): void {
    this.#unannounced.push(stream)
    if (this.#announceScheduled) return
    this.#announceScheduled = true
    setImmediate(() => {
      this.#announceScheduled = false
      this.#announce(null)
    })
  }

  sendFin(stream: MuxStream): void {
    stream.finSent = true
    this.control(TYPE_WINDOW_UPDATE, this.#flags(stream) | FLAG_FIN, stream.id, 0)
    if (stream.finReceived) this.#forget(stream)
  }

  sendStop(stream: MuxStream, number: number): void {
    this.control(TYPE_WINDOW_UPDATE, this.#flags(stream) | FLAG_STOP, stream.id, number)
    stream.receiveWindow += number
  }

  /** Within what peers accept: a burst, then so many a second. A stream whose reset waits stays open on the wire and receives nothing. */
  sendReset(stream: MuxStream, number: number): void {
    if (stream.opening === FLAG_SYN) this.#forget(stream)
    else if (this.#resets.size === 0 && this.#resetTokens.take()) this.#resetNow(stream, number)
    else {
      this.#resets.push({ stream, number })
      this.#armResets()
    }
  }

  queueUpdate(stream: MuxStream): void {
    if (stream.updateWaiting || stream.finReceived || stream.gone) return
    stream.updateWaiting = true
    this.#updates.push(stream)
    if (this.#updatesScheduled) return
    this.#updatesScheduled = true
    // Behind every promise that what was received settles: what those have to say takes the credit along.
    queueMicrotask(this.#sendUpdatesLater)
  }

  readonly #sendUpdatesLater = (): void => nextTick(this.#sendUpdatesNow)

  readonly #sendUpdatesNow = (): void => {
    this.#updatesScheduled = false
    this.sendUpdates()
  }

  sendUpdates(): void {
    for (const stream of this.#updates) {
      stream.updateWaiting = false
      if (stream.gone || stream.finReceived || stream.owed === 0) continue
      const length = stream.owed
      stream.owed = 0
      stream.receiveWindow += length
      this.control(TYPE_WINDOW_UPDATE, this.#flags(stream), stream.id, length)
    }
    this.#updates.length = 0
  }

  /** A frame without payload. */
  control(type: number, flags: number, id: number, length: number): void {
    if (this.#over) return
    if (this.#pipe.blocked) this.#unread += HEADER_BYTES
    const at = this.#pipe.reserve(HEADER_BYTES)
    writeHeader(this.#pipe.staging, at, type, flags, id, length)
    this.#budget.frameSent()
  }

  /** Round robin over the ready set, one frame a visit, until it is empty or the pipe has enough. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (!this.#pipe.blocked) {
        const stream = this.#ready.shift()
        if (stream === undefined) break
        stream.ready = false
        this.#visit(stream)
      }
    } finally {
      this.#pumping = false
    }
  }

  end(): void {
    this.#over = true
    this.#resetTimer?.cancel()
    this.#updates.length = 0
    this.#ready.clear()
    this.#resets.clear()
    this.#unannounced.clear()
  }

  #visit(stream: MuxStream): void {
    const queue = stream.queue
    if (queue === null || queue.length === 0 || stream.sendWindow === 0) return
    const most = this.#ready.size === 0 ? MAX_FRAME_BYTES : QUANTUM_BYTES
    const length = Math.min(most, stream.sendWindow, queue.headLength)
    this.#sendData(stream, queue.head, queue.headStart, queue.headStart + length)
    queue.shift(length)
    if (queue.length > 0 && stream.sendWindow > 0) this.join(stream)
    stream.drained()
  }

  #sendData(stream: MuxStream, data: Uint8Array, start: number, end: number): void {
    const length = end - start
    const flags = this.#flags(stream)
    const pipe = this.#pipe
    const at = pipe.reserve(HEADER_BYTES)
    writeHeader(pipe.staging, at, TYPE_DATA, flags, stream.id, length)
    pipe.write(data, start, end)
    stream.sendWindow -= length
    this.bytes += length
    this.#budget.frameSent()
  }

  /** The flag that opens or accepts a stream, once. Streams opened before it are announced first: numbers rise on the wire. */
  #flags(stream: MuxStream): number {
    const flags = stream.opening
    stream.opening = 0
    if (flags === FLAG_SYN) this.#announce(stream)
    return flags
  }

  #announce(until: MuxStream | null): void {
    for (let stream = this.#unannounced.shift(); stream !== undefined && stream !== until; stream = this.#unannounced.shift()) {
      if (stream.opening !== FLAG_SYN || stream.gone) continue
      stream.opening = 0
      this.control(TYPE_WINDOW_UPDATE, FLAG_SYN, stream.id, 0)
    }
  }

  #resetNow(stream: MuxStream, number: number): void {
    this.control(TYPE_WINDOW_UPDATE, FLAG_RST, stream.id, number)
    this.#budget.streamReset(stream.receiveWindow)
    this.#forget(stream)
  }

  #armResets(): void {
    this.#resetTimer ??= this.#clock.after(Math.ceil(1000 / OWN_RESETS_PER_SECOND), () => {
      this.#resetTimer = null
      this.#resetMore()
    })
  }

  #resetMore(): void {
    for (let next = this.#resets.peek(); next !== undefined; next = this.#resets.peek()) {
      if (!next.stream.gone) {
        if (!this.#resetTokens.take()) break
        this.#resetNow(next.stream, next.number)
      }
      this.#resets.shift()
    }
    if (this.#resets.size > 0) this.#armResets()
  }
}
