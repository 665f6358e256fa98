import { compare } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Random } from '../core/random.ts'
import type { Store } from '../core/store/types.ts'
import { type Equivocation, MESSAGE_TYPE, type Messages, type RecordMessage } from '../mesh/messages/types.ts'
import type { Conduct } from '../mesh/types.ts'
import { Access } from './access.ts'
import { Cursors } from './cursor.ts'
import { encodePayload, MAX_DATA_BYTES, type ReadPayload, type Reference } from './entry.ts'
import { EntryStore } from './entry-store.ts'
import { Fetch } from './fetch.ts'
import { RESERVED_TOPICS } from './founding-topics.ts'
import { type GossipCounters, gossipCounters } from './gossip-metrics.ts'
import { Intake, slotOf, type Way } from './intake.ts'
import type { Neighbour } from './neighbour.ts'
import { type GossipMesh, Neighbours } from './neighbours.ts'
import { Repair } from './repair.ts'
import { SeenFilter } from './seen-filter.ts'
import { Serve } from './serve.ts'
import { Spread } from './spread.ts'
import { Talk } from './talk.ts'
import type { Topic } from './topic.ts'
import { type Item, idKey } from './topic-index.ts'
import { entryOf, Topics } from './topics.ts'
import type { Gossip, GossipEntry, PublishOptions, SubscribeOptions, TopicOptions, TopicStatus } from './types.ts'

export interface GossipComponents {
  readonly mesh: GossipMesh
  readonly messages: Pick<Messages, 'signRecord' | 'readRecord' | 'restoreRecord' | 'verifyRecord' | 'fetchPapers' | 'showPapers'>
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics?: Metrics
  /** Where bytes that no correct neighbour sends are reported. */
  readonly conduct?: Pick<Conduct, 'report'>
  /** Told of a machine that published two entries under one number. */
  readonly onEquivocation?: (found: Equivocation) => void
  /** Lets other work of the process run. Default: a turn of the event loop. */
  readonly yieldTurn?: () => Promise<void>
  /** Topics that may be defined here. Default 1,000. */
  readonly maxTopics?: number
}

const DEFAULT_TOPICS = 1_000
const MAX_PAGE = 1_000
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Opens gossip with what an earlier run kept; it talks to nobody before `start`. @throws KithError `STORE_FAILED`. */
export async function createGossip(components: GossipComponents): Promise<Gossip> {
  const node = new GossipNode(components)
  await node.load()
  return node
}

/** Wires the parts together; each rule lives in the part it is about. */
class GossipNode implements Gossip {
  readonly #components: GossipComponents
  readonly #counters: GossipCounters
  readonly #yieldTurn: () => Promise<void>
  readonly #entries: EntryStore
  readonly #topics: Topics
  readonly #access: Access
  readonly #neighbours: Neighbours
  readonly #intake: Intake
  readonly #fetch: Fetch
  readonly #spread: Spread
  readonly #serve: Serve
  readonly #repair: Repair
  readonly #talk: Talk
  readonly #filter: SeenFilter = new SeenFilter()
  readonly #settling: Set<Topic> = new Set()
  readonly #ends: (() => void)[] = []
  #started = false
  #closed: Promise<void> | undefined

  constructor(components: GossipComponents) {
    const { mesh, messages, store, clock, random, logger, yieldTurn = turn } = components
    const { policy } = mesh
    this.#components = components
    this.#yieldTurn = yieldTurn
    const counters = gossipCounters(components.metrics)
    this.#counters = counters
    this.#entries = new EntryStore(store, yieldTurn, logger)
    this.#topics = new Topics({
      store,
      entries: this.#entries,
      messages,
      clock,
      logger,
      counters,
      maxTopics: components.maxTopics ?? DEFAULT_TOPICS,
      rejected: (key) => this.#intake.rejected(key),
      missing: (topic, reference) => this.#missing(topic, reference),
    })
    const topics = this.#topics
    this.#access = new Access(policy, mesh.did, clock, (name) => topics.get(name))
    const access = this.#access
    this.#neighbours = new Neighbours({
      mesh,
      clock,
      random,
      logger,
      counters,
      conduct: components.conduct,
      yieldTurn,
      wants: (neighbour, kind, length) => this.#talk.wants(neighbour, kind, length),
      frame: (neighbour, frame) => this.#talk.frame(neighbour, frame),
      opened: (neighbour) => this.#talk.opened(neighbour),
      shut: (neighbour) => this.#shut(neighbour),
      gone: (neighbour) => this.#gone(neighbour),
    })
    const neighbours = this.#neighbours
    this.#spread = new Spread(clock, access, counters)
    this.#intake = new Intake({
      messages,
      access,
      policy,
      clock,
      logger,
      counters,
      hooks: {
        topic: (name) => (this.#closed === undefined ? topics.get(name) : undefined),
        reserved: (name) => RESERVED_TOPICS.has(name),
        duplicate: (topic, key, from, way) => this.#duplicate(topic, key, from, way),
        accepted: (...accepted) => this.#accepted(...accepted),
        failed: (topic, id, others) => {
          for (const other of others) this.#fetch.heard(topic, id, other, 'fetch')
        },
        malformed: (from, error, bytes) => neighbours.malformed(from, error, bytes),
        equivocation: (topic, kept, found) => void this.#equivocation(topic, kept, found),
        late: (key, from) => this.#spread.note(key, from),
        refused: (topic, key) => topic.holdBack.over(key),
      },
    })
    const intake = this.#intake
    this.#fetch = new Fetch({ clock, random, policy, intake, counters, onPulled: (from, topic, taken) => taken > 0 && this.#repair.cascade(topic, from) })
    const fetch = this.#fetch
    this.#serve = new Serve({ clock, logger, policy, access, store: this.#entries, cursors: new Cursors(clock, random), counters })
    this.#repair = new Repair({
      clock,
      random,
      access,
      fetch,
      counters,
      neighbours,
      topics: () => topics,
      settle: (topic) => topics.settle(topic),
      onRound: () => this.#onRound(),
    })
    this.#spread.onBehind = (neighbour, topic) => this.#repair.begin(neighbour, topic)
    this.#talk = new Talk({
      own: mesh.did,
      policy,
      topics,
      access,
      intake,
      fetch,
      spread: this.#spread,
      serve: this.#serve,
      repair: this.#repair,
      filter: this.#filter,
      counters,
      neighbours,
      malformed: (neighbour, error) => neighbours.malformed(neighbour, error),
    })
    this.#ends.push(messages.showPapers((asker, did) => [...topics].some((topic) => topic.retention.has(did) && access.may(asker, 'subscribe', topic))))
    const changed = policy.onChange?.(() => this.#reconsider())
    if (changed !== undefined) this.#ends.push(changed)
  }

  async load(): Promise<void> {
    await this.#topics.load()
    for (const { index } of this.#topics) for (const { id } of index.items) this.#filter.add(id)
  }

  get refusals(): Readonly<Record<string, number>> {
    return this.#counters.refusals
  }

  async start(): Promise<void> {
    this.#alive()
    if (this.#started) return
    this.#started = true
    this.#neighbours.start()
    this.#repair.start()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async define(options: TopicOptions): Promise<void> {
    this.#alive()
    const topic = await this.#topics.define(options)
    if (topic === undefined) return
    this.#access.forget()
    this.#tellAll()
  }

  async remove(name: string): Promise<void> {
    this.#alive()
    const topic = this.#topics.need(name)
    this.#talk.forgetTopic(topic)
    await this.#topics.remove(topic)
    this.#access.forget()
  }

  topics(): readonly TopicStatus[] {
    return [...this.#topics].map((topic) => ({
      name: topic.name,
      access: topic.rules.access,
      entries: topic.index.size,
      bytes: topic.index.bytes,
      subscribers: [...this.#neighbours].filter((neighbour) => neighbour.sharing(topic) !== undefined && this.#access.may(neighbour.peer, 'subscribe', topic))
        .length,
      subscribed: topic.readers.size > 0,
      held: topic.holdBack.size,
      broken: topic.broken,
    }))
  }

  async publish(name: string, data: Uint8Array, options: PublishOptions = {}): Promise<GossipEntry> {
    this.#alive()
    const topic = this.#topics.need(name)
    if (!this.#access.ownMayPublish(topic)) {
      throw new KithError('TOPIC_DENIED', 'this node is not on the list of the topic, so nobody would take its entries', {
        details: { topic: name },
        next: 'kith topics',
      })
    }
    if (data.length > MAX_DATA_BYTES) throw new KithError('ENTRY_TOO_LARGE', undefined, { details: { bytes: data.length, limit: MAX_DATA_BYTES } })
    const payload = encodePayload({ references: [...topic.heads.values()], data })
    const { suite } = topic.rules
    const record = this.#components.messages.signRecord({ topic: name, type: options.type ?? MESSAGE_TYPE.gossip, payload, suite })
    const item: Item = { key: idKey(record.id), id: record.id, timeMs: record.timeMs, size: record.bytes.length, author: record.from, slot: slotOf(record) }
    this.#counters.accepted('own')
    this.#keep(topic, item, record)
    this.#spread.spread(topic, item.key, item.id, record.bytes, this.#neighbours)
    await this.#entries.durable()
    return entryOf(name, record, Uint8Array.from(data), false)
  }

  subscribe(name: string, options: SubscribeOptions = {}): AsyncIterableIterator<GossipEntry> {
    this.#alive()
    const topic = this.#topics.need(name)
    return topic.readers.read(options.replay === true ? this.#topics.replay(topic) : undefined, options.signal)
  }

  listen(name: string, listener: (entry: GossipEntry) => void, options: { readonly replay?: boolean } = {}): () => void {
    this.#alive()
    const topic = this.#topics.need(name)
    return topic.readers.listen(listener, options.replay === true ? this.#topics.replay(topic) : undefined)
  }

  async entries(name: string, options: { readonly after?: Uint8Array; readonly limit?: number } = {}): Promise<readonly GossipEntry[]> {
    this.#alive()
    const topic = this.#topics.need(name)
    const { after, limit = 100 } = options
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE) throw new TypeError(`limit must be a whole number from 1 to ${MAX_PAGE}`)
    const last = after === undefined ? undefined : topic.index.get(idKey(after))
    if (after !== undefined && last === undefined) throw new KithError('NOT_FOUND', 'the entry to go on after is not kept any more')
    const start = last === undefined ? 0 : topic.index.before({ timeMs: last.timeMs, prefix: last.id }) + 1
    const found: GossipEntry[] = []
    for await (const { item, record } of this.#topics.read(topic, topic.index.items.slice(start, start + limit))) {
      const entry = this.#topics.arrival(topic, item.key, record, item.size)?.entry(false)
      if (entry !== undefined) found.push(entry)
    }
    return found
  }

  #alive(): void {
    if (this.#closed !== undefined) throw new KithError('CLOSED', 'gossip was closed')
  }

  async #close(): Promise<void> {
    for (const end of this.#ends) end()
    this.#repair.close()
    this.#neighbours.close()
    this.#fetch.close()
    this.#spread.close()
    this.#access.close()
    this.#topics.close()
    await this.#entries.flush()
  }

  /** The owner or trust decided anew. */
  #reconsider(): void {
    this.#intake.reconsider()
    this.#tellAll()
  }

  #onRound(): void {
    let [kept, bytes, held] = [0, 0, 0]
    for (const { index, holdBack } of this.#topics) {
      kept += index.size
      bytes += index.bytes
      held += holdBack.size
    }
    this.#counters.sizes({ neighbours: this.#neighbours.size, kept, bytes, held, missing: this.#fetch.missing })
    this.#tellAll()
  }

  #tellAll(): void {
    this.#access.forget()
    for (const neighbour of this.#neighbours) this.#talk.tell(neighbour)
  }

  #shut(neighbour: Neighbour): void {
    this.#fetch.forget(neighbour)
    this.#spread.forget(neighbour)
  }

  #gone(neighbour: Neighbour): void {
    this.#shut(neighbour)
    this.#serve.forget(neighbour)
    this.#repair.forget(neighbour)
  }

  #accepted(topic: Topic, item: Item, record: RecordMessage, payload: ReadPayload, from: Neighbour, way: Way): void {
    const { key, id } = item
    this.#spread.note(key, from)
    this.#fetch.arrived(key)
    this.#counters.accepted(way === 'push' ? 'push' : 'fetch')
    this.#keep(topic, item, record, payload)
    if (way === 'fetch') {
      this.#repair.cascade(topic, from)
      return
    }
    if (way === 'push') this.#counters.delay(this.#components.clock.now() - item.timeMs)
    const shared = from.sharing(topic)
    if (shared !== undefined) shared.eager = true
    this.#spread.spread(topic, key, id, record.bytes, this.#neighbours)
  }

  #keep(topic: Topic, item: Item, record: RecordMessage, payload?: ReadPayload): void {
    this.#filter.add(item.id)
    this.#topics.keep(topic, item, record.bytes)
    if (topic.retention.full) this.#settleSoon(topic)
    const arrival = this.#topics.arrival(topic, item.key, record, item.size, payload)
    if (arrival !== undefined) topic.holdBack.offer(arrival)
  }

  /** Once per turn, however many entries came. */
  #settleSoon(topic: Topic): void {
    if (this.#settling.has(topic)) return
    this.#settling.add(topic)
    void this.#yieldTurn().then(() => {
      this.#settling.delete(topic)
      if (this.#closed === undefined) this.#topics.settle(topic)
    })
  }

  #duplicate(topic: Topic, key: string, from: Neighbour, way: Way): void {
    this.#spread.note(key, from)
    if (way !== 'push') return
    this.#spread.prune(from, topic)
    from.useless()
  }

  /** An entry refers to one that is not here: whoever reads the topic may have it. */
  #missing(topic: Topic, { id }: Reference): void {
    const key = idKey(id)
    const way = this.#intake.wanted(key) ? 'fetch' : 'graft'
    for (const neighbour of this.#neighbours) {
      if (neighbour.sharing(topic) !== undefined && this.#spread.has(key, neighbour)) this.#fetch.heard(topic, id, neighbour, way)
    }
  }

  async #equivocation(topic: Topic, kept: Item, found: RecordMessage): Promise<void> {
    if (found.from === this.#components.mesh.did)
      this.#components.logger.error('two entries of this identity have one number: was a home copied?', { topic: topic.name })
    const before = await this.#entries.get(topic, kept)
    if (before === undefined || this.#components.onEquivocation === undefined) return
    const proof: readonly [Uint8Array, Uint8Array] = compare(kept.id, found.id) < 0 ? [before, found.bytes] : [found.bytes, before]
    this.#components.onEquivocation({ did: found.from, device: found.device, proof })
  }
}
