import type { Duplex } from 'node:stream'
import { KithError, remoteError } from '../../core/errors.ts'
import { JoinedBytes } from '../../core/joined-bytes.ts'
import { createDuplex } from '../duplex.ts'
import type { LinkStream } from '../types.ts'
import type { MuxConnection } from './connection.ts'
import { FLAG_ACK, FLAG_SYN } from './frames.ts'
import { BULK_BYTES, INITIAL_WINDOW_BYTES, QUEUE_HIGH_BYTES, QUEUE_LOW_BYTES, QUEUE_MAX_BYTES } from './limits.ts'
import type { Outbox } from './outbox.ts'
import { SendQueue } from './send-queue.ts'

const U32_MAX = 0xffff_ffff

/** What arrived before anybody listened: kept in order, bounded by the window. */
interface Held {
  readonly bytes: JoinedBytes
  ended: boolean
}

interface Unsaid {
  readonly error: KithError
  readonly direction: 'both' | 'write'
}

const nothing = (): void => {}

/**
 * One stream of the multiplexer. The public half is `LinkStream`; the rest belongs to `MuxConnection`, which calls it from its parser and its pump.
 *
 * Each direction has two ends of life: the owner's (`writeOpen`, `readOpen`: may callbacks still come?) and the wire's (`finSent`, `finReceived`: may frames
 * still come?). The connection counts a stream until the wire is done with it, so both sides agree on how many are open.
 */
export class MuxStream implements LinkStream {
  readonly id: number
  readonly inbound: boolean
  readonly connection: MuxConnection
  readonly #outbox: Outbox

  onEnd: () => void = nothing
  onDrain: () => void = nothing
  onClose: () => void = nothing

  /** Flags that ride on the next frame: SYN until opened, ACK until accepted. */
  opening: number
  sendWindow: number = INITIAL_WINDOW_BYTES
  queue: SendQueue | null = null
  /** In the connection's ready set. */
  ready = false
  finSent = false
  finReceived = false
  /** The table's. */
  nextInSlot: MuxStream | null = null
  /** The connection has forgotten the stream. */
  gone = false
  /** What the peer may still send, and what it was promised in all. */
  receiveWindow: number = INITIAL_WINDOW_BYTES
  window: number = INITIAL_WINDOW_BYTES
  /** Consumed and not yet credited. */
  owed = 0
  updateWaiting = false

  #writeOpen = true
  #ending = false
  #readOpen = true
  #needDrain = false
  #closeReported = false
  /** Handed to the owner, or kept for it, and not yet returned by `consume`; also what came before the end. */
  #unreturned = 0
  /** Nobody wants what was received, or will return it. */
  #droppedReads = false
  #consumed = 0
  #handler: ((data: Buffer, start: number, end: number) => void) | null = null
  #failed: ((error: KithError, direction: 'both' | 'write') => void) | null = null
  #held: Held | null = null
  #unsaid: Unsaid | null = null
  #releasing = false
  #duplex: Duplex | null = null

  constructor(connection: MuxConnection, id: number, inbound: boolean) {
    this.connection = connection
    this.#outbox = connection.outbox
    this.id = id
    this.inbound = inbound
    this.opening = inbound ? FLAG_ACK : FLAG_SYN
  }

  get onData(): (data: Buffer, start: number, end: number) => void {
    return this.#handler ?? nothing
  }

  /** What came before the first owner listened follows at the end of the turn. */
  set onData(handler: (data: Buffer, start: number, end: number) => void) {
    this.#handler = handler
    if (this.#held !== null || this.#unsaid !== null) this.#releaseSoon()
  }

  get onError(): (error: KithError, direction: 'both' | 'write') => void {
    return this.#failed ?? nothing
  }

  set onError(failed: (error: KithError, direction: 'both' | 'write') => void) {
    this.#failed = failed
    if (this.#unsaid !== null) this.#releaseSoon()
  }

  write(data: Uint8Array, start = 0, end: number = data.length): boolean {
    if (!this.#writeOpen || this.#ending) return true
    let at = start
    const queue = this.queue
    if ((queue === null || queue.length === 0) && this.#outbox.clear) at = this.#outbox.sendNow(this, data, start, end)
    if (at < end) this.#enqueue(data, at, end)
    return !this.#needDrain
  }

  end(): void {
    if (!this.#writeOpen || this.#ending) return
    this.#ending = true
    this.#needDrain = false
    if (this.queue === null || this.queue.length === 0) this.#finish()
  }

  reset(number: number): void {
    requireNumber(number)
    this.#letGo()
    if (this.#closeReported) return
    if (!this.gone) this.#sendReset(number)
    this.#dropWrites()
    this.#dropReads()
    this.#settle()
  }

  stop(number: number): void {
    requireNumber(number)
    this.owed += this.#unreturned
    this.#letGo()
    if (!this.#readOpen) return
    this.#dropReads()
    if (!this.finReceived && !this.gone) this.#outbox.sendStop(this, number)
    this.#settle()
  }

  consume(length: number): void {
    if (this.#droppedReads) return
    if (!(length >= 0 && length <= this.#unreturned)) throw new TypeError('more credit returned than was handed out')
    this.#unreturned -= length
    this.connection.held?.remove(length)
    if (!this.#readOpen || this.finReceived) return
    this.owed += length
    if (this.#consumed < BULK_BYTES) {
      this.#consumed += length
      if (this.#consumed >= BULK_BYTES) this.connection.grow(this)
    }
    if (this.owed * 2 >= this.window) this.#outbox.queueUpdate(this)
  }

  toDuplex(): Duplex {
    this.#duplex ??= createDuplex(this, this.connection.clock)
    return this.#duplex
  }

  // From here on: for the connection.

  /** Room was made in the queue: the peer's FIN goes out behind it, or the owner may write again. */
  drained(): void {
    const length = this.queue?.length ?? 0
    if (length === 0 && this.#ending && this.#writeOpen) {
      this.#finish()
      return
    }
    if (!this.#needDrain || length > QUEUE_LOW_BYTES) return
    this.#needDrain = false
    this.onDrain()
  }

  /** Payload of a DATA frame, a piece at a time. */
  receive(data: Buffer, start: number, end: number): void {
    const length = end - start
    if (!this.#readOpen) {
      this.owed += length
      if (this.owed * 2 >= this.window && !this.gone) this.#outbox.queueUpdate(this)
      return
    }
    this.#unreturned += length
    this.connection.held?.add(length)
    if (this.#handler !== null && this.#held === null) this.#handler(data, start, end)
    else this.#hold().bytes.append(data, start, end)
  }

  peerEnded(): void {
    this.finReceived = true
    if (this.finSent) this.connection.forget(this)
    if (!this.#readOpen) return
    if (this.#handler === null || this.#held !== null) {
      this.#hold().ended = true
      return
    }
    this.#readOpen = false
    this.onEnd()
    this.#settle()
  }

  /** The peer wants no more of what we write. */
  peerStopped(number: number): void {
    if (this.finSent || !this.#writeOpen) return
    this.#dropWrites()
    this.#outbox.sendFin(this)
    this.#fail(peerError(number), 'write')
  }

  /** Both directions are over on the wire: reset by the peer, or the connection ended. */
  abandoned(error: KithError): void {
    this.gone = true
    const writeOpen = this.#writeOpen
    const readOpen = this.#readOpen && !(this.#held?.ended ?? false)
    this.#dropWrites()
    if (readOpen) this.#fail(error, 'both')
    else if (writeOpen) this.#fail(error, 'write')
    else this.#settle()
  }

  get unreturned(): number {
    return this.#unreturned
  }

  /** Ends the stream on our own account: both sides hear why. */
  refuse(error: KithError): void {
    if (!this.gone) this.#sendReset(error.number)
    this.#dropWrites()
    this.#fail(error, 'both')
  }

  grant(length: number): boolean {
    this.sendWindow += length
    return this.sendWindow <= U32_MAX
  }

  #sendReset(number: number): void {
    this.#outbox.sendReset(this, number)
    if (this.inbound) this.connection.refused(number)
  }

  #enqueue(data: Uint8Array, start: number, end: number): void {
    this.queue ??= new SendQueue()
    this.queue.push(data, start, end)
    if (this.queue.length > QUEUE_HIGH_BYTES) this.#needDrain = true
    if (this.queue.length > QUEUE_MAX_BYTES) {
      this.refuse(new KithError('MUX_LIMIT', 'The stream’s owner wrote on without waiting for the peer.'))
      return
    }
    if (this.sendWindow > 0) this.#outbox.join(this)
  }

  #finish(): void {
    this.#writeOpen = false
    this.#outbox.sendFin(this)
    this.#settle()
  }

  #dropWrites(): void {
    this.#writeOpen = false
    this.#needDrain = false
    this.queue?.clear()
  }

  #dropReads(): void {
    this.#readOpen = false
    this.#held = null
    this.#unsaid = null
    this.#letGo()
  }

  #letGo(): void {
    this.connection.held?.remove(this.#unreturned)
    this.#unreturned = 0
    this.#droppedReads = true
  }

  #fail(error: KithError, direction: 'both' | 'write'): void {
    if (direction === 'both') {
      this.#readOpen = false
      this.#held = null
      this.#letGo()
    }
    this.#unsaid = { error, direction }
    if (this.#failed !== null || this.#handler !== null) this.#say()
  }

  #say(): void {
    const unsaid = this.#unsaid
    this.#unsaid = null
    if (unsaid !== null) this.#failed?.(unsaid.error, unsaid.direction)
    this.#settle()
  }

  /** Tells the owner once that both directions have ended. */
  #settle(): void {
    if (this.#writeOpen || this.#readOpen || this.#closeReported || this.#held !== null || this.#unsaid !== null) return
    this.#closeReported = true
    this.onClose()
  }

  #hold(): Held {
    this.#held ??= { bytes: new JoinedBytes(), ended: false }
    return this.#held
  }

  #releaseSoon(): void {
    if (this.#releasing) return
    this.#releasing = true
    process.nextTick(() => {
      this.#releasing = false
      this.connection.guard(() => this.#release())
    })
  }

  #release(): void {
    const held = this.#held
    if (held !== null && this.#handler !== null) {
      for (let chunk = held.bytes.take(); chunk !== undefined; chunk = held.bytes.take()) {
        this.#handler(chunk, 0, chunk.length)
        if (this.#held !== held) break
      }
      if (this.#held === held) this.#held = null
      if (held.ended && this.#readOpen) {
        this.#readOpen = false
        this.onEnd()
      }
    }
    this.#say()
  }
}

function requireNumber(number: number): void {
  if (!Number.isInteger(number) || number < 0 || number > U32_MAX) throw new TypeError('the number of an error is an unsigned 32-bit integer')
}

/** What a number on the wire stands for; 0 is what other implementations write into every reset. */
export function peerError(number: number): KithError {
  if (number === 0) return new KithError('STREAM_RESET', undefined, { remote: true })
  return remoteError(number)
}
