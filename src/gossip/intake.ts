import type { Clock } from '../core/clock.ts'
import { asKithError, isKithError, type KithError } from '../core/errors.ts'
import { Lru } from '../core/lru.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { Messages, RecordHead, RecordMessage } from '../mesh/messages/types.ts'
import type { Policy } from '../mesh/types.ts'
import type { Access } from './access.ts'
import { AuthorRate } from './author-rate.ts'
import { type ReadPayload, readPayload } from './entry.ts'
import type { GossipCounters, Refusal } from './gossip-metrics.ts'
import type { Neighbour } from './neighbour.ts'
import { Papers } from './papers.ts'
import type { Topic } from './topic.ts'
import { type Item, idKey } from './topic-index.ts'

/** Entries dated further ahead are not taken yet. */
export const MAX_AHEAD_MS = 600_000
/** What was refused is not asked for again for a while. */
const REFUSED_MS = 600_000
const MAX_REFUSED = 32_768
/** What an author published too fast comes with the next comparison instead. */
const RATE_MS = 5_000
/** Papers may turn up. */
const UNKNOWN_MS = 60_000

/** What became of an entry that was not taken. */
interface Refused {
  readonly untilMs: number
  /** For what it is or who signed it, not for coming too fast. */
  readonly final: boolean
  /** Whose it is, where that is the reason: it counts for as long as the author is denied, and not a moment longer. */
  readonly denied: { readonly author: Did; readonly topic: Topic } | undefined
}

export type Way = 'push' | 'graft' | 'fetch'

/** What the intake tells the rest. */
export interface IntakeHooks {
  topic(name: string): Topic | undefined
  reserved(name: string): boolean
  /** A copy of what is here or on its way. */
  duplicate(topic: Topic, key: string, from: Neighbour, way: Way): void
  /** Verified, new, and wanted. */
  accepted(topic: Topic, item: Item, record: RecordMessage, payload: ReadPayload, from: Neighbour, way: Way): void
  /** Did not verify, while others may have the right bytes. */
  failed(topic: Topic, id: Uint8Array, others: readonly Neighbour[]): void
  /** The neighbour sent bytes that are no envelope. */
  malformed(from: Neighbour, error: KithError, bytes: Uint8Array): void
  equivocation(topic: Topic, kept: Item, found: RecordMessage): void
  /** Came too fast; the neighbour has it. */
  late(key: string, from: Neighbour): void
  /** Will not be taken here, whoever brings it: nothing waits for it. */
  refused(topic: Topic, key: string): void
}

export interface IntakeComponents {
  readonly messages: Pick<Messages, 'readRecord' | 'verifyRecord' | 'fetchPapers'>
  readonly access: Access
  readonly policy: Pick<Policy, 'constraints' | 'classOf'>
  readonly clock: Clock
  readonly logger: Logger
  readonly counters: GossipCounters
  readonly hooks: IntakeHooks
}

/**
 * The one way of an entry into a topic, whoever brought it and however:
 *
 * ```text
 * decode -> topic known -> neighbour may carry -> new (id) -> not too old or early, room -> author may publish -> not too large
 *        -> signature and papers (once per id) -> author's rate (pushed ones) -> payload -> one body per number -> kept
 * ```
 *
 * Everything before the signature is cheap and decided without believing the bytes; everything refused is counted, and none of it is a violation but bytes that do
 * not decode and signatures that are false.
 */
export class Intake {
  readonly #components: IntakeComponents
  /** By id: who else offered the same bytes while they are verified. */
  readonly #pending: Map<string, Neighbour[]> = new Map()
  #refused: Lru<string, Refused> = new Lru(MAX_REFUSED)
  readonly #rate: AuthorRate
  readonly #papers: Papers

  constructor(components: IntakeComponents) {
    this.#components = components
    this.#rate = new AuthorRate(components.clock, components.policy)
    this.#papers = new Papers(components.messages, components.clock)
  }

  /** Entries being verified. */
  get pending(): number {
    return this.#pending.size
  }

  /** Whether there is nothing to gain from asking for this one. */
  settled(topic: Topic, key: string): boolean {
    return topic.index.get(key) !== undefined || this.#pending.has(key) || this.refusedLately(key)
  }

  refusedLately(key: string): boolean {
    return this.#refusal(key) !== undefined
  }

  /** Refused lately for what it is or who signed it, not for coming too fast. */
  rejected(key: string): boolean {
    return this.#refusal(key)?.final === true
  }

  /** Something that is held back refers to it: it is not too early for it any more. @returns whether it was refused for coming too fast. */
  wanted(key: string): boolean {
    return this.#refusal(key)?.final === false && this.#refused.delete(key)
  }

  /** Rules have changed: what was refused may be taken now. */
  reconsider(): void {
    this.#refused = new Lru(MAX_REFUSED)
  }

  /** Another one has what is being verified. */
  alsoFrom(key: string, neighbour: Neighbour): boolean {
    const others = this.#pending.get(key)
    if (others === undefined) return false
    if (others.length < 8 && !others.includes(neighbour)) others.push(neighbour)
    return true
  }

  /** `bytes` belong to the intake from here on. */
  receive(bytes: Uint8Array, from: Neighbour, way: Way, expected?: (topic: Topic, head: RecordHead) => boolean): void {
    const { messages, hooks, counters } = this.#components
    let head: RecordHead
    try {
      head = messages.readRecord(bytes)
    } catch (error) {
      if (isKithError(error, 'WIRE_MALFORMED') || isKithError(error, 'KEY_INVALID') || isKithError(error, 'DID_INVALID')) hooks.malformed(from, error, bytes)
      else this.#refuse(from, 'payload')
      return
    }
    const topic = hooks.topic(head.topic)
    if (topic === undefined) {
      this.#refuse(from, hooks.reserved(head.topic) ? 'reserved' : 'unknown_topic')
      return
    }
    if (expected?.(topic, head) === false) {
      this.#refuse(from, 'unsolicited')
      return
    }
    const { access } = this.#components
    if (!access.may(from.peer, 'subscribe', topic) && !access.may(from.peer, 'publish', topic)) {
      this.#refuse(from, 'carrier_denied')
      return
    }
    const key = idKey(head.id)
    if (topic.index.get(key) !== undefined || this.alsoFrom(key, from)) {
      counters.duplicate()
      hooks.duplicate(topic, key, from, way)
      return
    }
    if (this.refusedLately(key)) {
      if (way === 'push') from.useless()
      return
    }
    const refusal = this.#judge(topic, head, bytes.length)
    if (refusal !== undefined) {
      if (refusal === 'author_denied') this.#rememberDenied(topic, key, head.from)
      else this.#remember(topic, key)
      this.#refuse(from, refusal, head, way)
      return
    }
    void this.#verify(topic, head, key, bytes, from, way)
  }

  /** What can be said against it without its signature. */
  #judge(topic: Topic, head: RecordHead, size: number): Refusal | undefined {
    const { access, policy, clock } = this.#components
    const now = clock.now()
    if (head.timeMs < topic.retention.cutoff(now)) return 'too_old'
    if (head.timeMs > now + MAX_AHEAD_MS) return 'too_early'
    if (topic.rules.suite === 'hybrid' && head.suite !== 'hybrid') return 'suite'
    if (topic.retention.refuses({ timeMs: head.timeMs, id: head.id, author: head.from, size })) return 'no_room'
    if (!access.may(head.from, 'publish', topic)) return 'author_denied'
    if (size > policy.constraints(head.from).messageBytes) return 'too_large'
    return undefined
  }

  async #verify(topic: Topic, head: RecordHead, key: string, bytes: Uint8Array, from: Neighbour, way: Way): Promise<void> {
    const { logger, hooks } = this.#components
    const others: Neighbour[] = []
    this.#pending.set(key, others)
    from.verifying(bytes.length)
    let record: RecordMessage | undefined
    try {
      record = await this.#verified(topic, head, bytes, from)
    } catch (thrown) {
      const error = asKithError(thrown, 'INTERNAL')
      if (error.code === 'INTERNAL') logger.error('gossip verification failed', { error: thrown })
      const refusal = REFUSAL_OF[error.code] ?? 'device'
      if (refusal === 'device' || refusal === 'suite') this.#remember(topic, key)
      // Nobody who has it has the papers: not asked for again at once.
      if (refusal === 'unknown_device' && others.length === 0) this.#remember(topic, key, UNKNOWN_MS)
      this.#refuse(from, refusal, head, way)
    }
    this.#pending.delete(key)
    try {
      if (record !== undefined) this.#take(topic, record, key, bytes.length, from, way)
      else if (!this.refusedLately(key)) hooks.failed(topic, head.id, others)
    } finally {
      from.verified(bytes.length)
    }
  }

  async #verified(topic: Topic, head: RecordHead, bytes: Uint8Array, from: Neighbour): Promise<RecordMessage> {
    const { messages } = this.#components
    const verify = (): Promise<RecordMessage> => messages.verifyRecord(bytes, topic.name, from, { suite: topic.rules.suite })
    try {
      return await verify()
    } catch (error) {
      if (!isKithError(error, 'DEVICE_UNKNOWN') && !isKithError(error, 'BINDING_EXPIRED')) throw error
      if (!(await this.#papers.fetch(from, head.from, head.device))) throw error
    }
    return await verify()
  }

  #take(topic: Topic, record: RecordMessage, key: string, size: number, from: Neighbour, way: Way): void {
    const { hooks } = this.#components
    // The topic may have gone while the signature was checked.
    if (hooks.topic(topic.name) !== topic || topic.index.get(key) !== undefined) return
    // What others refer to holds them up: it is taken now, as a comparison would take it soon.
    if (way !== 'fetch' && !topic.holdBack.awaits(key) && !this.#rate.take(record.from)) {
      this.#remember(topic, key, RATE_MS)
      hooks.late(key, from)
      this.#refuse(from, 'author_rate', record, way)
      return
    }
    let payload: ReadPayload
    try {
      payload = readPayload(record.payload)
      // An author's entry is measured as its readers get it: a small one that inflates to a large one is a large one.
      if (payload.length > this.#components.policy.constraints(record.from).messageBytes) {
        this.#remember(topic, key)
        this.#refuse(from, 'too_large', record, way)
        return
      }
      // Looked into once, so that nobody passes on what nobody can read.
      payload.inflate()
    } catch {
      this.#remember(topic, key)
      this.#refuse(from, 'payload', record, way)
      return
    }
    const item: Item = { key, id: record.id, timeMs: record.timeMs, size, author: record.from, slot: slotOf(record) }
    const kept = topic.index.ofSlot(item.slot)
    if (kept !== undefined) {
      this.#remember(topic, key)
      hooks.equivocation(topic, kept, record)
      this.#refuse(from, 'equivocation', record, way)
      return
    }
    hooks.accepted(topic, item, record, payload, from, way)
  }

  #refusal(key: string): Refused | undefined {
    const { clock, access } = this.#components
    const refused = this.#refused.get(key)
    if (refused === undefined || clock.monotonic() >= refused.untilMs) return undefined
    const { denied } = refused
    return denied === undefined || !access.may(denied.author, 'publish', denied.topic) ? refused : undefined
  }

  #remember(topic: Topic, key: string, ms = REFUSED_MS): void {
    const final = ms !== RATE_MS
    this.#refused.set(key, { untilMs: this.#components.clock.monotonic() + ms, final, denied: undefined })
    if (final) this.#components.hooks.refused(topic, key)
  }

  /** Neighbours who see the author in another way keep it and offer it in every comparison: it is sent once, not every time. */
  #rememberDenied(topic: Topic, key: string, author: Did): void {
    this.#refused.set(key, { untilMs: Number.POSITIVE_INFINITY, final: true, denied: { author, topic } })
    this.#components.hooks.refused(topic, key)
  }

  /**
   * Counted, and told to whoever looks closer: `why` says the same of access. A neighbour that answers a question with what it took and is not wanted here, because
   * the two see an author in different ways, has done its part: how much it is asked has a bound of its own.
   */
  #refuse(from: Neighbour, reason: Refusal, head?: RecordHead | RecordMessage, way: Way = 'push'): void {
    const { counters, logger } = this.#components
    counters.refused(reason)
    logger.debug('gossip entry refused', { reason, carrier: from.peer, ...(head === undefined ? {} : { author: head.from }) })
    if (way === 'push' || !MATTERS_OF_VIEW.has(reason)) from.useless()
  }
}

/** Reasons that lie between this node and the author: a neighbour cannot know them. */
const MATTERS_OF_VIEW: ReadonlySet<Refusal> = new Set(['author_denied', 'author_rate', 'too_large', 'too_old', 'no_room', 'device'])

const REFUSAL_OF: { readonly [code: string]: Refusal } = {
  SIGNATURE_INVALID: 'signature',
  DEVICE_UNKNOWN: 'unknown_device',
  MESSAGE_EARLY: 'too_early',
  SUITE_REQUIRED: 'suite',
  BUDGET_EXCEEDED: 'verifier_busy',
  CLOSED: 'verifier_busy',
}

/** What stands for device, epoch and number of a record. */
export function slotOf(record: Pick<RecordMessage, 'device' | 'epoch' | 'seq'>): string {
  return `${Buffer.from(record.device).toString('latin1')} ${record.epoch} ${record.seq}`
}
