import { type ErrorCode, type KithError, type KithErrorOptions, remoteError } from '../../core/errors.ts'
import type { FrameSink } from './frame-reader.ts'
import { FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_STOP, FLAG_SYN, readU32, TYPE_DATA, TYPE_GO_AWAY, TYPE_PING, TYPE_WINDOW_UPDATE } from './frames.ts'
import type { Liveness } from './liveness.ts'
import type { Outbox } from './outbox.ts'
import type { PeerBudget } from './peer-budget.ts'
import { type MuxStream, peerError } from './stream.ts'

const DATA_FLAGS = FLAG_SYN | FLAG_ACK | FLAG_FIN | FLAG_RST

/** What the frames of a peer act upon. */
export interface InboxPort {
  /** False once the end of the connection has begun: frames are read on, but only for the other side's end. */
  readonly alive: boolean
  find(id: number): MuxStream | undefined
  /** Whether a stream of that number ever existed. */
  wasOpened(id: number): boolean
  /** Makes the stream a peer opens; null when that ended the connection. */
  accept(id: number): MuxStream | null
  forget(stream: MuxStream): void
  peerDrains(): void
  /** The peer ends the connection. */
  peerCloses(error: KithError | null): void
  fail(code: ErrorCode, message: string, options?: KithErrorOptions): void
}

/**
 * What no correct peer sends, whatever was lost, reset or ended on either side: frames that are none, and frames that contradict what their own sender sent before.
 * Breaches that depend on what we have done (windows, streams we ended) are not among them: they end the connection and say nothing about the peer.
 */
type MuxBreach = 'malformed-frame' | 'protocol-state'

/** Acts on a peer's frames, and judges them: every rule of the wire is checked here. */
export class Inbox implements FrameSink {
  bytes = 0

  readonly #port: InboxPort
  readonly #outbox: Outbox
  readonly #budget: PeerBudget
  readonly #liveness: Liveness
  /** The frame whose payload is being read: its stream (null: thrown away), and whether it ends the direction. */
  #current: MuxStream | null = null
  #currentEnds = false

  constructor(port: InboxPort, outbox: Outbox, budget: PeerBudget, liveness: Liveness) {
    this.#port = port
    this.#outbox = outbox
    this.#budget = budget
    this.#liveness = liveness
  }

  header(buffer: Buffer, at: number): number {
    const type = buffer[at + 1] as number
    const flags = ((buffer[at + 2] as number) << 8) | (buffer[at + 3] as number)
    const id = readU32(buffer, at + 4)
    const length = readU32(buffer, at + 8)
    if (buffer[at] !== 0) return this.#violation('version', 'malformed-frame')
    if (type === TYPE_DATA) return this.#data(flags, id, length)
    if (type === TYPE_WINDOW_UPDATE) this.#window(flags, id, length)
    else if (type > TYPE_GO_AWAY) this.#violation('type', 'malformed-frame')
    else if (id !== 0) this.#violation('stream of a session frame', 'malformed-frame')
    else if (type === TYPE_PING) this.#ping(flags, length)
    else this.#goAway(flags, length)
    return 0
  }

  payload(data: Buffer, start: number, end: number, last: boolean): void {
    const stream = this.#current
    if (stream === null) return
    this.bytes += end - start
    stream.receive(data, start, end)
    if (last && this.#currentEnds && !stream.gone) stream.peerEnded()
  }

  #data(flags: number, id: number, length: number): number {
    this.#current = null
    if ((flags & ~DATA_FLAGS) !== 0) return this.#violation('flags', 'malformed-frame')
    if (!this.#port.alive) return length
    const stream = this.#streamOf(flags, id)
    if (stream === null) return 0
    if (stream === undefined) return this.#late(id, length)
    if (stream.finReceived) return this.#violation('data after the end', 'protocol-state')
    if (length > stream.receiveWindow) return this.#violation('window exceeded')
    if ((flags & FLAG_RST) !== 0) {
      this.#reset(stream, 0)
      return length
    }
    if (length === 0) {
      if ((flags & FLAG_FIN) !== 0) stream.peerEnded()
      else if (flags === 0) this.#idle()
      return 0
    }
    stream.receiveWindow -= length
    this.#current = stream
    this.#currentEnds = (flags & FLAG_FIN) !== 0
    return length
  }

  /** Payload that was under way when its stream ended. */
  #late(id: number, length: number): number {
    if (!this.#port.wasOpened(id)) return this.#violation('data for a stream that was never opened', 'protocol-state')
    if (length === 0) this.#idle()
    else if (!this.#budget.late(length)) return this.#violation('data for a stream that is over')
    return length
  }

  #window(flags: number, id: number, length: number): void {
    if ((flags & ~(DATA_FLAGS | FLAG_STOP)) !== 0) this.#violation('flags', 'malformed-frame')
    if (!this.#port.alive) return
    const stream = this.#streamOf(flags, id)
    if (stream === null) return
    if (stream === undefined) this.#idle()
    else if ((flags & FLAG_RST) !== 0) this.#reset(stream, length)
    else {
      if ((flags & FLAG_STOP) !== 0) stream.peerStopped(length)
      else this.#credit(stream, flags, length)
      if ((flags & FLAG_FIN) !== 0) this.#end(stream)
    }
  }

  #credit(stream: MuxStream, flags: number, length: number): void {
    if (length === 0) {
      if (flags === 0) this.#idle()
    } else if (!stream.grant(length)) this.#violation('window overflow')
    else if ((stream.queue?.length ?? 0) > 0) this.#outbox.join(stream)
  }

  #end(stream: MuxStream): void {
    if (stream.finReceived) this.#violation('second end', 'protocol-state')
    else if (!stream.gone) stream.peerEnded()
  }

  #ping(flags: number, opaque: number): void {
    if (flags !== FLAG_SYN && flags !== FLAG_ACK) this.#violation('flags', 'malformed-frame')
    else if (this.#port.alive && !this.#liveness.received(flags, opaque, this.#budget)) this.#port.fail('MUX_LIMIT', 'The peer sends too many pings.')
  }

  #goAway(flags: number, number: number): void {
    if ((flags & ~FLAG_FIN) !== 0) this.#violation('flags', 'malformed-frame')
    else if (flags !== 0 || number !== 0) this.#port.peerCloses(number === 0 ? null : remoteError(number))
    else this.#port.peerDrains()
  }

  /** The stream of a frame, made if the frame opens one: undefined if there is none, null if the frame ended the connection. */
  #streamOf(flags: number, id: number): MuxStream | undefined | null {
    if (id === 0) {
      this.#violation('stream 0', 'malformed-frame')
      return null
    }
    if ((flags & FLAG_SYN) === 0) return this.#port.find(id)
    return this.#port.accept(id)
  }

  #reset(stream: MuxStream, number: number): void {
    if (!this.#budget.reset()) {
      this.#port.fail('MUX_LIMIT', 'The peer resets streams without end.')
      return
    }
    this.#port.forget(stream)
    stream.abandoned(peerError(number))
  }

  #idle(): void {
    if (!this.#budget.idle()) this.#port.fail('MUX_LIMIT', 'The peer sends frames without effect.')
  }

  #violation(what: string, breach?: MuxBreach): 0 {
    this.#port.fail('MUX_PROTOCOL', `The peer broke the rules of the multiplexer: ${what}.`, breach === undefined ? {} : { details: { breach } })
    return 0
  }
}
