import { equal } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { mayDo } from '../../identity/device-capabilities.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'
import type { Conduct } from '../types.ts'
import type { Directory, Entry } from './directory.ts'
import { decodeEnvelope, type Envelope, type MessageClass, signatureFault } from './envelope.ts'
import type { MessageTally } from './messages-metrics.ts'
import type { RateLimiter } from './rate.ts'
import type { ReplayTable, Reservation } from './replay-table.ts'
import { senderNamed } from './senders.ts'
import { LIVE_SKEW_MS, type Session, type Sessions } from './sessions.ts'
import { Later } from './slicer.ts'
import type { Carrier, Destination, LiveMessage, RecordMessage, StoredCheck, Suite } from './types.ts'
import { verifiedLive, verifiedRecord, verifiedStored } from './verified.ts'

export const MAX_LIFE_MS: number = 14 * 24 * 60 * 60 * 1000
/** How far ahead of our clock a stored message or a record may be dated. */
export const FUTURE_SLACK_MS = 600_000

export interface VerifierComponents {
  readonly own: () => Did
  readonly clock: Clock
  readonly directory: Directory
  readonly sessions: Sessions
  readonly replay: ReplayTable
  readonly rates: RateLimiter
  readonly tally: MessageTally
  readonly keeps: (did: Did) => boolean
  readonly conduct: Conduct | undefined
  /** Who looks at live messages for two under one number, if anybody does. Gets repetitions too. */
  readonly watch: () => ((message: LiveMessage) => void) | undefined
}

/** Where some bytes came in. */
export interface Arrival {
  readonly carrier: Carrier | undefined
  /** Signed at least so. */
  readonly suite: Suite
  /** Protocol's name, for reports. */
  readonly protocol: string
}

/** What a live message looks like to whoever must decide what it costs. */
export interface LiveArrival extends Arrival {
  /** The session of the link that brought it. */
  readonly session: Session
}

/**
 * # The order of checks (PN-7)
 *
 * ```text
 * decode -> device known, not banned -> signature -> addressed to me -> class rule -> replay check -> rate -> mark -> handler
 * ```
 *
 * A budget is charged only behind the signature, so nobody spends another's; a number is marked only behind the budget, so a message that was refused for its rate
 * may come again. Refusals are errors whose code says whether that helps (`KithError.retryable`). They are counted, and cost the sender nothing; only an Ed25519
 * signature that is false under the very key that the envelope names is charged, to the link that carried it: no correct node signs or passes on such a thing. (The
 * ML-DSA half is judged by papers, and those of the carrier may be newer than ours.)
 */
export class Verifier {
  readonly #components: VerifierComponents
  #self: { readonly did: Did; readonly key: Uint8Array; readonly to: Destination } | undefined

  constructor(components: VerifierComponents) {
    this.#components = components
  }

  /** A live message, marked as received. Without waiting unless the sender's papers have to be read. @throws KithError */
  live(envelope: Envelope, arrival: LiveArrival): LiveMessage | Later<LiveMessage> {
    return this.#with(envelope, (entry) => this.#live(envelope, arrival, entry))
  }

  /** @throws KithError */
  record(bytes: Uint8Array, topic: string, arrival: Arrival): RecordMessage | Later<RecordMessage> {
    const envelope = this.decode(bytes, 'record')
    return this.#with(envelope, (entry) => this.#record(envelope, topic, arrival, entry))
  }

  /** @throws KithError */
  stored(bytes: Uint8Array, arrival: Arrival): Promise<StoredCheck> | Later<Promise<StoredCheck>> {
    const envelope = this.decode(bytes, 'stored')
    return this.#with(envelope, (entry) =>
      this.#counted(envelope, () => {
        const known = this.#authenticate(envelope, arrival, entry)
        const self = this.#addressed(envelope)
        this.#storedRule(envelope)
        return this.#claim(envelope, known, self)
      }),
    )
  }

  /** Goes on with the sender's keys: at once when they are at hand. */
  #with<T>(envelope: Envelope, check: (entry: Entry | undefined) => T): T | Later<T> {
    const { directory, clock } = this.#components
    const entry = directory.peek(envelope.sender, clock.now())
    return entry === undefined ? Later.on(directory.resolve(envelope.sender), check) : check(entry)
  }

  /** @throws KithError `WIRE_MALFORMED`, `VERSION_UNSUPPORTED`. Counted. */
  decode(bytes: Uint8Array, kind: MessageClass): Envelope {
    try {
      const envelope = decodeEnvelope(bytes)
      if (envelope.class !== kind) throw new KithError('WIRE_MALFORMED', 'the envelope is of another class', { details: { reason: 'another class' } })
      senderNamed(envelope)
      return envelope
    } catch (error) {
      if (isKithError(error)) this.#components.tally.refused('unknown', error.code)
      throw error
    }
  }

  #live(envelope: Envelope, arrival: LiveArrival, entry: Entry | undefined): LiveMessage {
    return this.#counted(envelope, () => {
      const { clock, sessions, rates, watch } = this.#components
      const known = this.#authenticate(envelope, arrival, entry)
      const self = this.#addressed(envelope)
      const session = equal(envelope.name, arrival.session.id) ? arrival.session : sessions.get(envelope.name)
      if (session === undefined || !sessions.usable(session) || !equal(session.device, known.device) || session.did !== known.did)
        throw new KithError('SESSION_UNKNOWN')
      if (Math.abs(envelope.timeMs - clock.now() - session.offsetMs) > LIVE_SKEW_MS)
        throw new KithError('MESSAGE_STALE', 'the date is too far from the sender’s clock')
      const verdict = session.window.judge(envelope.seq)
      if (verdict === 'invalid') throw new KithError('SEQUENCE_INVALID')
      if (verdict === 'old') throw new KithError('MESSAGE_STALE')
      if (verdict === 'replayed') {
        watch()?.(verifiedLive(envelope, known.did, known.device, self.to))
        throw new KithError('REPLAYED')
      }
      rates.charge(known.did)
      session.window.mark(envelope.seq)
      const message = verifiedLive(envelope, known.did, known.device, self.to)
      watch()?.(message)
      return message
    })
  }

  #record(envelope: Envelope, topic: string, arrival: Arrival, entry: Entry | undefined): RecordMessage {
    return this.#counted(envelope, () => {
      const known = this.#authenticate(envelope, arrival, entry)
      if (envelope.topic !== topic) throw new KithError('NOT_FOR_US', 'the record belongs to another topic')
      // What stands there proves itself, whoever says it; without it nobody could link the machine.
      if (!topic.startsWith('identity:') && !mayDo(known.capabilities, 'records')) throw new KithError('DEVICE_NOT_ALLOWED')
      if (envelope.epoch < 1 || envelope.seq < 1) throw new KithError('SEQUENCE_INVALID')
      this.#notAhead(envelope)
      return verifiedRecord(envelope, known.did, known.device)
    })
  }

  #storedRule(envelope: Envelope): void {
    const now = this.#components.clock.now()
    // A life beyond the rule would have to be remembered for longer than the table does.
    if (envelope.expiresMs < envelope.timeMs || envelope.expiresMs - envelope.timeMs > MAX_LIFE_MS) {
      throw new KithError('MESSAGE_STALE', 'the message claims a longer life than 14 days, or none', {
        details: { timeMs: envelope.timeMs, expiresMs: envelope.expiresMs },
      })
    }
    this.#notAhead(envelope)
    if (now >= envelope.expiresMs + FUTURE_SLACK_MS) throw new KithError('MESSAGE_EXPIRED')
  }

  async #claim(envelope: Envelope, known: Entry, self: { readonly to: Destination }): Promise<StoredCheck> {
    const { replay, rates, keeps } = this.#components
    const { from, device, name: msgId, expiresMs } = envelope
    const claim: Reservation = await replay.claim({ did: from, device, msgId, expiresMs, stranger: !keeps(known.did) })
    try {
      rates.charge(known.did)
      const message = verifiedStored(envelope, known.did, known.device, self.to)
      return { message, mark: claim.operations, commit: claim.commit, release: claim.release }
    } catch (error) {
      claim.release()
      throw error
    }
  }

  /** Device and ban, suite, that the binding lasted until the message's date, signature. */
  #authenticate(envelope: Envelope, arrival: Arrival, entry: Entry | undefined): Entry {
    if (entry === undefined) throw new KithError('DEVICE_UNKNOWN')
    if (this.#components.conduct?.banOf(entry.did, entry.device) !== undefined) throw new KithError('BANNED')
    const { mldsa } = entry.key
    if (arrival.suite === 'hybrid' && envelope.suite !== 'hybrid') {
      if (mldsa !== undefined) throw new KithError('DOWNGRADE_REFUSED', 'the machine has post-quantum keys and did not sign with them')
      throw new KithError('SUITE_REQUIRED')
    }
    // It may have got one since: then its papers are newer than those known here.
    if (envelope.suite === 'hybrid' && mldsa === undefined) throw new KithError('DEVICE_UNKNOWN', 'no post-quantum key of this machine is known here')
    if (entry.fault !== undefined) throw entry.fault
    if (envelope.timeMs >= entry.notAfterMs) throw new KithError('BINDING_EXPIRED', undefined, { details: { endMs: entry.notAfterMs } })
    const fault = signatureFault(envelope, entry.device, mldsa)
    if (fault !== undefined) throw this.#falseSignature(envelope, arrival, fault)
    return entry
  }

  #falseSignature(envelope: Envelope, { carrier, protocol }: Arrival, fault: 'ed25519' | 'mldsa'): KithError {
    if (carrier !== undefined && fault === 'ed25519') {
      this.#components.conduct?.report({ peer: carrier.peer, device: carrier.device, kind: 'invalid-signature', protocol, evidence: envelope.bytes })
    }
    return new KithError('SIGNATURE_INVALID', undefined, { details: { fault } })
  }

  #addressed(envelope: Envelope): { readonly to: Destination } {
    const did = this.#components.own()
    if (this.#self?.did !== did) this.#self = { did, key: didPublicKey(did), to: { kind: 'did', did } }
    if (!equal(envelope.to, this.#self.key)) throw new KithError('NOT_FOR_US')
    return this.#self
  }

  #notAhead({ timeMs }: Envelope): void {
    if (timeMs > this.#components.clock.now() + FUTURE_SLACK_MS) throw new KithError('MESSAGE_EARLY', undefined, { details: { timeMs } })
  }

  /** Runs the checks of one message and counts what comes of them. */
  #counted<T>(envelope: Envelope, checks: () => T): T {
    const { tally } = this.#components
    const refused = (error: unknown): never => {
      if (isKithError(error)) tally.refused(envelope.class, error.code)
      throw error
    }
    let result: T
    try {
      result = checks()
    } catch (error) {
      return refused(error)
    }
    if (result instanceof Promise) {
      return result.then((value) => {
        tally.accepted(envelope.class)
        return value
      }, refused) as T
    }
    tally.accepted(envelope.class)
    return result
  }
}
