import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { createDuplex } from '../duplex.ts'
import type { HeldMemory } from '../held-memory.ts'
import { QUEUE_MAX_BYTES } from '../mux/limits.ts'
import type { Connection, LinkStream } from '../types.ts'
import type { ChunkPool } from './chunks.ts'
import { peerError } from './errors.ts'
import { ReadHalf, WriteHalf } from './halves.ts'
import type { NativeStream } from './native.ts'
import { nothing } from './nothing.ts'

/** What a stream needs of its connection. */
export interface StreamOwner {
  readonly connection: Connection
  readonly clock: Clock
  readonly pool: ChunkPool
  /** Tells the peer, which knows the stream by opener and index. */
  cut(type: 'reset' | 'stop', stream: QuicStream, code: number): void
  sent(length: number): void
  received(length: number): void
  /** Undefined when only the windows bound what the peer may leave here. */
  readonly held: HeldMemory | undefined
  /** What was received has been dealt with. */
  settle(): void
  /** Bytes of a direction that was cut: they may never arrive and count no more in the totals that CLOSE compares. */
  uncount(sent: number, received: number): void
  /** Calls `run` with the code of a reset or stop that the peer sends beside a native one; after a moment without it. */
  awaitCode(run: () => void): void
  /** Both directions have ended for the caller. */
  ended(stream: QuicStream): void
  /** Ends the connection unless the native calls of a cut stream end soon. */
  watch(stream: QuicStream): void
}

/**
 * One bidirectional QUIC stream behind the lean interface.
 *
 * A native reset has no code, so RESET and STOP travel on the first stream and each side then resets natively: the receiver's native call is
 * what frees a blocked call of the sender. Whichever of the two arrives first, the caller hears once, with the code if there is one.
 */
export class QuicStream implements LinkStream {
  readonly id: number
  readonly index: number
  readonly inbound: boolean
  onEnd: () => void = nothing
  onDrain: () => void = nothing
  onClose: () => void = nothing
  readonly #owner: StreamOwner
  readonly #write: WriteHalf
  readonly #read: ReadHalf
  #failed: ((error: KithError, direction: 'both' | 'write') => void) | undefined
  #handler: ((data: Buffer, start: number, end: number) => void) | undefined
  /** What went wrong before anybody listened. */
  #held: { readonly error: KithError; readonly direction: 'both' | 'write' } | undefined
  #duplex: Duplex | undefined
  /** Handed to the owner and not yet returned by `consume`; also what came before the end. */
  #unreturned = 0
  /** Nobody will return what was received. */
  #droppedReads = false
  #writing = true
  #ended = false
  #reading = true
  #closed = false
  #watched = false
  #countsOut = true
  #countsIn = true

  constructor(owner: StreamOwner, native: NativeStream, index: number, openedByDialer: boolean, inbound: boolean) {
    this.#owner = owner
    this.index = index
    this.id = index * 2 + (openedByDialer ? 0 : 1)
    this.inbound = inbound
    this.#write = new WriteHalf(owner.pool, native)
    this.#read = new ReadHalf(native)
    this.#write.onDrain = () => {
      if (this.#writing && !this.#ended) this.onDrain()
    }
    this.#write.onFinished = () => this.#endWriting()
    this.#write.onError = (error) => this.#nativeWriteError(error)
    this.#read.onData = (data) => this.#data(data)
    this.#read.onEnd = () => this.#end()
    this.#read.onError = (error) => this.#nativeReadError(error)
  }

  get connection(): Connection {
    return this.#owner.connection
  }
  /** No native call is pending and none will follow. */
  get settled(): boolean {
    return this.#write.settled && this.#read.settled
  }
  get onData(): (data: Buffer, start: number, end: number) => void {
    return this.#handler ?? nothing
  }

  /** Reading starts once somebody listens. */
  set onData(handler: (data: Buffer, start: number, end: number) => void) {
    const first = this.#handler === undefined
    this.#handler = handler
    if (first) process.nextTick(() => this.#listened())
  }

  get onError(): (error: KithError, direction: 'both' | 'write') => void {
    return this.#failed ?? nothing
  }

  set onError(failed: (error: KithError, direction: 'both' | 'write') => void) {
    this.#failed = failed
    if (this.#held !== undefined) process.nextTick(() => this.#listened())
  }

  write(data: Uint8Array, start: number = 0, end: number = data.length): boolean {
    if (!this.#writing || this.#ended || start >= end) return true
    if (this.#countsOut) this.#owner.sent(end - start)
    const more = this.#write.append(data, start, end)
    if (this.#write.queued > QUEUE_MAX_BYTES) this.#overflow()
    return more
  }

  end(): void {
    if (!this.#writing || this.#ended) return
    this.#ended = true
    this.#write.finish()
  }

  reset(number: number): void {
    requireNumber(number)
    this.#letGo()
    if (!this.#writing && !this.#reading) return
    this.#owner.cut('reset', this, number)
    this.#cut(nothing)
  }

  stop(number: number): void {
    requireNumber(number)
    this.#letGo()
    if (!this.#reading) return
    this.#owner.cut('stop', this, number)
    this.#uncountIn()
    this.#reading = false
    this.#read.stop()
    this.#watch()
    this.#closeIfDone()
  }

  consume(length: number): void {
    if (this.#droppedReads) return
    if (!(length >= 0 && length <= this.#unreturned)) throw new TypeError('more credit returned than was handed out')
    this.#unreturned -= length
    this.#owner.held?.remove(length)
    if (this.#reading) this.#read.consume(length)
  }

  toDuplex(): Duplex {
    this.#duplex ??= createDuplex(this, this.#owner.clock)
    return this.#duplex
  }

  /** The peer sent RESET, or the connection is gone: the caller hears it and both halves end natively. */
  fail(error: KithError): void {
    if (!this.#writing && !this.#reading) return
    this.#cut(() => this.#tell(error, 'both'))
  }

  /** The peer sent STOP. */
  stopped(number: number): void {
    this.#failWriting(peerError(number))
  }

  get unreturned(): number {
    return this.#unreturned
  }

  /** Ends the stream on our own account: both sides hear why. */
  refuse(error: KithError): void {
    this.#owner.cut('reset', this, error.number)
    this.fail(error)
  }

  /** Ends a stream that the peer reset before it was seen here, or that nobody waits for any more. */
  discard(): void {
    this.#cut(nothing)
  }

  #cut(tell: () => void): void {
    this.#writing = false
    this.#reading = false
    this.#letGo()
    this.#uncountOut()
    this.#uncountIn()
    this.#write.drop()
    this.#read.stop()
    this.#watch()
    tell()
    this.#closeIfDone()
  }

  /** What went wrong before anybody listened is told; then reading may start. */
  #listened(): void {
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.onError(held.error, held.direction)
    this.#closeIfDone()
    if (this.#handler !== undefined) this.#read.start()
  }

  #tell(error: KithError, direction: 'both' | 'write'): void {
    if (this.#handler === undefined && this.#failed === undefined) this.#held = { error, direction }
    else this.onError(error, direction)
  }

  #letGo(): void {
    this.#owner.held?.remove(this.#unreturned)
    this.#unreturned = 0
    this.#droppedReads = true
  }

  /** The owner writes on and on without waiting for the peer. */
  #overflow(): void {
    this.refuse(new KithError('MUX_LIMIT', 'The stream’s owner wrote on without waiting for the peer.'))
  }

  #uncountOut(): void {
    if (this.#countsOut) this.#owner.uncount(this.#write.written, 0)
    this.#countsOut = false
  }

  #uncountIn(): void {
    if (this.#countsIn) this.#owner.uncount(0, this.#read.received)
    this.#countsIn = false
  }

  /** The native calls of a direction that was cut must end; normally the peer's reset frees them within a round trip. */
  #watch(): void {
    if (this.#watched || this.settled) return
    this.#watched = true
    this.#owner.watch(this)
  }

  #data(data: Buffer): void {
    if (this.#countsIn) this.#owner.received(data.length)
    this.#unreturned += data.length
    this.#owner.held?.add(data.length)
    this.onData(data, 0, data.length)
    this.#owner.settle()
  }

  #end(): void {
    if (!this.#reading) return
    this.#reading = false
    this.onEnd()
    this.#closeIfDone()
  }

  #endWriting(): void {
    if (!this.#writing) return
    this.#writing = false
    this.#closeIfDone()
  }

  #failWriting(error: KithError): void {
    if (!this.#writing) return
    this.#writing = false
    this.#uncountOut()
    this.#write.drop()
    this.#tell(error, 'write')
    this.#closeIfDone()
  }

  #nativeWriteError(error: KithError): void {
    this.#owner.awaitCode(() => this.#failWriting(generic(error)))
  }

  #nativeReadError(error: KithError): void {
    this.#owner.awaitCode(() => this.fail(generic(error)))
  }

  #closeIfDone(): void {
    if (this.#writing || this.#reading) return
    this.#owner.ended(this)
    if (this.#closed || this.#held !== undefined) return
    this.#closed = true
    this.onClose()
  }
}

/** A native reset without its message. */
function generic(error: KithError): KithError {
  return error.code === 'STREAM_RESET' ? new KithError('STREAM_RESET', undefined, { remote: true, cause: error.cause }) : error
}

function requireNumber(number: number): void {
  if (!Number.isInteger(number) || number < 0 || number > 0xffff_ffff) throw new TypeError('the number of an error is an unsigned 32-bit integer')
}
