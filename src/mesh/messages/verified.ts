import type { PublicKey } from '../../core/bytes.ts'
import type { Did } from '../../identity/did.ts'
import { type Envelope, envelopeId } from './envelope.ts'
import type { Destination, LiveMessage, RecordMessage, StoredMessage, Suite } from './types.ts'

/**
 * Turns an envelope into a message that handlers may be given. Only what has checked it, or has just signed it, calls these: nothing else in the source imports
 * this file, and outside it the brand of `VerifiedMessage` cannot be written.
 */
class Verified {
  readonly #envelope: Envelope
  readonly from: Did
  readonly device: PublicKey
  readonly to: Destination
  readonly suite: Suite
  readonly timeMs: number
  readonly type: number
  readonly payload: Uint8Array
  readonly bytes: Uint8Array
  #id: Uint8Array | undefined

  constructor(envelope: Envelope, from: Did, device: PublicKey, to: Destination) {
    this.#envelope = envelope
    this.from = from
    this.device = device
    this.to = to
    this.suite = envelope.suite
    this.timeMs = envelope.timeMs
    this.type = envelope.type
    this.payload = envelope.payload
    this.bytes = envelope.bytes
  }

  /** Hashed when first asked for: live messages are told apart by their numbers. */
  get id(): Uint8Array {
    this.#id ??= envelopeId(this.#envelope)
    return this.#id
  }
}

class Live extends Verified {
  readonly class = 'live'
  readonly session: Uint8Array
  readonly seq: number

  constructor(envelope: Envelope, from: Did, device: PublicKey, to: Destination) {
    super(envelope, from, device, to)
    this.session = envelope.name
    this.seq = envelope.seq
  }
}

class Stored extends Verified {
  readonly class = 'stored'
  readonly msgId: Uint8Array
  readonly expiresMs: number

  constructor(envelope: Envelope, from: Did, device: PublicKey, to: Destination) {
    super(envelope, from, device, to)
    this.msgId = envelope.name
    this.expiresMs = envelope.expiresMs
  }
}

class Recorded extends Verified {
  readonly class = 'record'
  readonly epoch: number
  readonly seq: number

  constructor(envelope: Envelope, from: Did, device: PublicKey, to: Destination) {
    super(envelope, from, device, to)
    this.epoch = envelope.epoch
    this.seq = envelope.seq
  }
}

export function verifiedLive(envelope: Envelope, from: Did, device: PublicKey, to: Destination): LiveMessage {
  return new Live(envelope, from, device, to) as Live & LiveMessage
}

export function verifiedStored(envelope: Envelope, from: Did, device: PublicKey, to: Destination): StoredMessage {
  return new Stored(envelope, from, device, to) as Stored & StoredMessage
}

export function verifiedRecord(envelope: Envelope, from: Did, device: PublicKey): RecordMessage {
  return new Recorded(envelope, from, device, { kind: 'topic', topic: envelope.topic }) as Recorded & RecordMessage
}
