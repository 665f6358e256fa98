import type { PublicKey } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { Did } from '../identity/did.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'
import type { Carrier } from '../mesh/messages/types.ts'
import type { ConstraintSet } from '../mesh/types.ts'
import type { LinkStream } from '../transport/types.ts'
import type { FrameReader } from './frame-reader.ts'
import { Outbox, QUEUE_BYTES } from './outbox.ts'
import type { Topic } from './topic.ts'
import { MAX_FRAME_BYTES } from './wire.ts'

/** One topic that a neighbour subscribed to here. */
export interface Shared {
  readonly topic: Topic
  /** How the neighbour's frames name it. */
  readonly handle: number
  /** Whether entries are pushed to it, or announced. */
  eager: boolean
  /** Something that it was to be told was dropped: compare again. */
  behind: boolean
}

/** Bytes of entries of one neighbour that are being verified; beyond, its stream is not read on. */
const MAX_VERIFYING_BYTES = 512 * 1024
/** Frames that brought nothing (duplicates, refused, unknown) are free up to this many times the class's message rate; beyond, its stream is read at that rate. */
const USELESS_FACTOR = 20

/** A linked machine that speaks gossip: one stream from it, one to it. */
export class Neighbour implements Carrier {
  readonly peer: Did
  readonly device: PublicKey
  /** Its link key in hexadecimal digits. */
  readonly key: string
  readonly outbox: Outbox
  /** By its handles, and by topic. */
  readonly byHandle: Map<number, Shared> = new Map()
  readonly shared: Map<Topic, Shared> = new Map()
  /** Topics we told it we read. */
  readonly told: Set<Topic> = new Set()
  inbound: LinkStream | undefined
  reader: FrameReader | undefined
  outbound: LinkStream | undefined
  /** An attempt to open the outbound stream runs. */
  opening = false
  attempts = 0
  gone = false
  /** Stands for its present stream to us: what is remembered of the one before holds no more. */
  stamp: object = {}
  verifyingBytes = 0
  readonly #clock: Clock
  readonly #useless: TokenBucket
  #paused = false
  #pause: Timer | undefined

  constructor(peer: Did, device: PublicKey, key: string, limits: ConstraintSet, clock: Clock, yieldTurn: () => Promise<void>) {
    this.peer = peer
    this.device = device
    this.key = key
    this.outbox = new Outbox(yieldTurn, Math.min(QUEUE_BYTES, Math.max(MAX_FRAME_BYTES, limits.bufferBytes / 4)))
    this.#clock = clock
    this.#useless = new TokenBucket(clock, USELESS_FACTOR * limits.messagesPerSecond, USELESS_FACTOR * (limits.messagesPerSecond + limits.burst))
  }

  /** Whether more of it may be read now. */
  get ready(): boolean {
    return !this.#paused && this.verifyingBytes < MAX_VERIFYING_BYTES
  }

  verifying(bytes: number): void {
    this.verifyingBytes += bytes
  }

  verified(bytes: number): void {
    this.verifyingBytes -= bytes
    this.reader?.resume()
  }

  /** It sent something that was of no use: too much of it is read slowly. */
  useless(count = 1): void {
    if (this.#paused || this.#useless.take(count)) return
    this.#paused = true
    this.#pause = this.#clock.after(1_000, () => {
      this.#paused = false
      this.reader?.resume()
    })
  }

  close(): void {
    this.gone = true
    this.#pause?.cancel()
  }

  sharing(topic: Topic): Shared | undefined {
    return this.shared.get(topic)
  }

  /** A new stream from it: what it said on the one before counts no more. */
  renew(): void {
    this.stamp = {}
    this.byHandle.clear()
    this.shared.clear()
  }
}
