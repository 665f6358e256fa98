import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Store } from '../core/store/types.ts'
import type { Messages, RecordMessage } from '../mesh/messages/types.ts'
import { HoldBack } from './causal.ts'
import { MAX_REFERENCES, type ReadPayload, type Reference, readPayload } from './entry.ts'
import type { EntryStore } from './entry-store.ts'
import { RESERVED_TOPICS } from './founding-topics.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import { slotOf } from './intake.ts'
import { Readers } from './readers.ts'
import { Retention } from './retention.ts'
import { type Arrival, type Topic, type TopicRules, topicRules } from './topic.ts'
import { encodeTopic } from './topic-codec.ts'
import { type Item, idKey, TopicIndex } from './topic-index.ts'
import { TopicStore } from './topic-store.ts'
import type { GossipEntry, TopicOptions } from './types.ts'
import { topicHash } from './wire.ts'

export interface TopicsComponents {
  readonly store: Store
  readonly entries: EntryStore
  readonly messages: Pick<Messages, 'readRecord' | 'restoreRecord'>
  readonly clock: Clock
  readonly logger: Logger
  readonly counters: GossipCounters
  readonly maxTopics: number
  /** An entry that was refused here: nothing waits for it. */
  rejected(key: string): boolean
  /** An entry that one refers to is not here. */
  missing(topic: Topic, reference: Reference): void
}

/** The topics of this node, with what is kept of them. */
export class Topics {
  readonly #components: TopicsComponents
  readonly #definitions: TopicStore
  readonly #byName: Map<string, Topic> = new Map()
  readonly #byKey: Map<string, Topic> = new Map()
  #handles = 0

  constructor(components: TopicsComponents) {
    this.#components = components
    this.#definitions = new TopicStore(components.store)
  }

  *[Symbol.iterator](): IterableIterator<Topic> {
    yield* this.#byName.values()
  }

  get(name: string): Topic | undefined {
    return this.#byName.get(name)
  }

  /** @throws KithError `TOPIC_UNKNOWN`, `TOPIC_RESERVED`. */
  need(name: string): Topic {
    const topic = this.#byName.get(name)
    if (topic !== undefined) return topic
    if (RESERVED_TOPICS.has(name)) throw reserved(name)
    throw new KithError('TOPIC_UNKNOWN', undefined, { details: { topic: name.slice(0, 128) }, next: 'kith topics' })
  }

  ofHash(hash: Uint8Array): Topic | undefined {
    return this.#byKey.get(idKey(hash))
  }

  /** @throws as `Gossip.define`. Undefined when it was there already. */
  async define(options: TopicOptions): Promise<Topic | undefined> {
    const rules = topicRules(options)
    if (RESERVED_TOPICS.has(rules.name)) throw reserved(rules.name)
    const known = this.#byName.get(rules.name)
    if (known !== undefined) {
      if (!known.broken && equal(encodeTopic(known.rules), encodeTopic(rules))) return undefined
      throw exists(rules, known)
    }
    if (this.#byName.size >= this.#components.maxTopics) throw new KithError('TOPIC_LIMIT', undefined, { details: { limit: this.#components.maxTopics } })
    const topic = this.#add(rules, false)
    try {
      await this.#definitions.save(rules)
    } catch (error) {
      this.#drop(topic)
      throw error
    }
    return topic
  }

  async remove(topic: Topic): Promise<void> {
    this.#drop(topic)
    await this.#definitions.delete(topic.name)
    await this.#components.entries.clear(topic)
  }

  /** What an earlier run left. */
  async load(): Promise<void> {
    for await (const { rules, broken } of this.#definitions.load()) {
      if (broken) this.#components.logger.error('gossip topic admits nobody: its definition cannot be read', { topic: rules.name })
      await this.#restore(this.#add(rules, broken))
    }
  }

  /** Keeps an entry; the caller lets `settle` run when it says so. */
  keep(topic: Topic, item: Item, envelope: Uint8Array): void {
    topic.index.add(item)
    topic.retention.add(item)
    this.#components.entries.put(topic, item, envelope)
  }

  /** Drops what is too old or has no room. */
  settle(topic: Topic): void {
    const now = this.#components.clock.now()
    const first = topic.index.items[0]
    if (first === undefined || (first.timeMs >= topic.retention.cutoff(now) && !topic.retention.full)) return
    const gone = topic.retention.settle(now)
    topic.index.remove(gone)
    for (const { key } of gone) topic.heads.delete(key)
    const { retention } = topic
    this.#components.entries.delete(
      topic,
      gone,
      [...retention.takeChanged()].map((author) => [author, retention.dropped(author)] as const),
    )
  }

  /** What is kept now and was delivered, in causal order; what comes later is not in it. */
  replay(topic: Topic): AsyncIterable<GossipEntry> {
    return this.#replay(
      topic,
      topic.index.items.filter(({ key }) => !topic.holdBack.has(key)),
    )
  }

  /** Kept entries as they are. */
  async *read(topic: Topic, items: readonly Item[]): AsyncGenerator<{ readonly item: Item; readonly record: RecordMessage }> {
    const { entries, messages } = this.#components
    for (const item of items) {
      const bytes = await entries.get(topic, item)
      if (bytes !== undefined) yield { item, record: messages.restoreRecord(bytes) }
    }
  }

  close(): void {
    for (const topic of this.#byName.values()) {
      topic.holdBack.close()
      topic.readers.close()
    }
  }

  async *#replay(topic: Topic, items: readonly Item[]): AsyncGenerator<GossipEntry> {
    const { clock } = this.#components
    const ready: GossipEntry[] = []
    const before = new Set(items.map(({ key }) => key))
    const order = new HoldBack(topic.rules.causal, {
      clock: { ...clock, after: () => ({ cancel: () => undefined }), monotonic: () => 0 },
      known: ({ id }) => !before.has(idKey(id)),
      missing: () => undefined,
      forced: () => undefined,
      deliver: (arrival) => {
        before.delete(arrival.key)
        const entry = arrival.entry(false)
        if (entry !== undefined) ready.push(entry)
      },
    })
    for await (const { item, record } of this.read(topic, items)) {
      const arrival = this.arrival(topic, item.key, record, item.size)
      if (arrival !== undefined) order.offer(arrival)
      yield* ready.splice(0)
    }
    order.flush()
    yield* ready
  }

  /** Undefined for a payload that is none. */
  arrival(topic: Topic, key: string, record: RecordMessage, size: number, known?: ReadPayload): Arrival | undefined {
    const { counters } = this.#components
    try {
      const payload = known ?? readPayload(record.payload)
      return {
        key,
        id: record.id,
        timeMs: record.timeMs,
        references: payload.references,
        size,
        entry(gap) {
          try {
            return entryOf(topic.name, record, payload.inflate(), gap)
          } catch {
            counters.refused('payload')
            return undefined
          }
        },
      }
    } catch {
      counters.refused('payload')
      return undefined
    }
  }

  #add(rules: TopicRules, broken: boolean): Topic {
    const { clock, logger, counters, missing, rejected } = this.#components
    const hash = topicHash(rules.name)
    const retention = new Retention(rules)
    const index = new TopicIndex()
    const heads = new Map<string, Reference>()
    const readers = new Readers(logger)
    /** Kept here, or too old to be kept. */
    const had = ({ id, timeMs }: Reference): boolean =>
      index.get(idKey(id)) !== undefined || timeMs < Math.max(retention.cutoff(clock.now()), retention.droppedMs)
    const holdBack: HoldBack = new HoldBack(rules.causal, {
      clock,
      known: (reference) => had(reference) || rejected(idKey(reference.id)),
      missing: (reference) => missing(topic, reference),
      forced: () => counters.gap(),
      deliver(arrival, gap) {
        // What refers to something that did not come, or is refused here, may be waited for elsewhere: nothing of ours is tied to it.
        if (!rules.causal || arrival.references.every(had)) follow(heads, arrival)
        if (readers.size === 0) return
        const entry = arrival.entry(gap)
        if (entry !== undefined) readers.deliver(entry)
      },
    })
    const topic: Topic = { rules, broken, name: rules.name, hash, key: idKey(hash), handle: ++this.#handles, index, retention, holdBack, readers, heads, had }
    this.#byName.set(topic.name, topic)
    this.#byKey.set(topic.key, topic)
    return topic
  }

  #drop(topic: Topic): void {
    this.#byName.delete(topic.name)
    this.#byKey.delete(topic.key)
    topic.holdBack.close()
    topic.readers.close()
  }

  async #restore(topic: Topic): Promise<void> {
    const { entries, messages, logger } = this.#components
    for (const [author, place] of await entries.dropped(topic)) topic.retention.recall(author, place)
    const gone: Item[] = []
    const kept: Parameters<typeof follow>[1][] = []
    for await (const bytes of entries.scan(topic)) {
      try {
        const head = messages.readRecord(bytes)
        const { references } = readPayload(head.payload)
        const { id, timeMs, from: author } = head
        const item: Item = { key: idKey(id), id: Uint8Array.from(id), timeMs, size: bytes.length, author, slot: slotOf(head) }
        if (topic.retention.refuses(item)) {
          // The power failed between noting that it goes and deleting it.
          gone.push(item)
          continue
        }
        topic.index.add(item)
        topic.retention.add(item)
        kept.push({ ...item, references })
      } catch (error) {
        logger.warn('a kept gossip entry cannot be read', { topic: topic.name, error })
      }
    }
    for (const entry of kept) if (!topic.rules.causal || entry.references.every(topic.had)) follow(topic.heads, entry)
    if (gone.length > 0) entries.delete(topic, gone)
    this.settle(topic)
  }
}

/** The entry is the newest of what it refers to. More heads than an entry can name: the newest. */
function follow(heads: Map<string, Reference>, { key, id, timeMs, references }: Pick<Arrival, 'key' | 'id' | 'timeMs' | 'references'>): void {
  for (const reference of references) heads.delete(idKey(reference.id))
  heads.set(key, { timeMs, id })
  if (heads.size <= MAX_REFERENCES) return
  for (const oldest of heads.keys()) {
    heads.delete(oldest)
    return
  }
}

export function entryOf(topic: string, record: RecordMessage, data: Uint8Array, gap: boolean): GossipEntry {
  const { id, from: author, device, epoch, seq, timeMs, type } = record
  return { id, topic, author, device, epoch, seq, timeMs, type, data, record, ...(gap ? { gap } : {}) }
}

function reserved(name: string): KithError {
  return new KithError('TOPIC_RESERVED', undefined, { details: { topic: name } })
}

/** Says in what the two differ. */
function exists(rules: TopicRules, { rules: known, broken }: Topic): KithError {
  const differ = (Object.keys(rules) as (keyof TopicRules)[]).filter((key) => JSON.stringify(rules[key]) !== JSON.stringify(known[key]))
  const sentence = broken ? 'could not be read again and must be made anew' : `exists with another ${differ.join(', ')}`
  return new KithError('TOPIC_EXISTS', `The topic ${rules.name} ${sentence}.`, {
    details: { topic: rules.name, differ },
    next: `kith topics remove ${rules.name}`,
  })
}
