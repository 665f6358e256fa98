import { malformed } from '../core/codec.ts'
import type { KithError } from '../core/errors.ts'
import type { Did } from '../identity/did.ts'
import type { Policy } from '../mesh/types.ts'
import type { Access } from './access.ts'
import type { Fetch } from './fetch.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import type { Intake } from './intake.ts'
import type { Neighbour, Shared } from './neighbour.ts'
import type { Repair } from './repair.ts'
import type { SeenFilter } from './seen-filter.ts'
import type { Serve } from './serve.ts'
import type { Spread } from './spread.ts'
import type { Topic } from './topic.ts'
import { idKey } from './topic-index.ts'
import type { Topics } from './topics.ts'
import { encodeFrame, type Frame, frameLimit, MAX_TOPICS_PER_FRAME } from './wire.ts'

/** Room for what stands around an entry in a frame, and for the other entries of an answer. */
const AROUND_BYTES = 64 * 1024
/** Neighbours that subscribe to one topic. */
const MAX_SUBSCRIBERS = 10_000
/** Announced ids without room for them that count as a frame that brought nothing. */
const IDS_PER_FRAME = 64
const PUSH = 3
const ENTRIES = 9

export interface TalkComponents {
  readonly own: Did
  readonly policy: Pick<Policy, 'constraints'>
  readonly topics: Topics
  readonly access: Access
  readonly intake: Intake
  readonly fetch: Fetch
  readonly spread: Spread
  readonly serve: Serve
  readonly repair: Repair
  readonly filter: SeenFilter
  readonly counters: GossipCounters
  readonly neighbours: Iterable<Neighbour>
  malformed(neighbour: Neighbour, error: KithError): void
}

/** What neighbours say to each other: subscriptions, and each frame to the part that answers it. Every frame about a topic is checked against the subscription it stands on. */
export class Talk {
  readonly #components: TalkComponents

  constructor(components: TalkComponents) {
    this.#components = components
  }

  /** Whether to keep a frame that begins. */
  wants(neighbour: Neighbour, kind: number, length: number): boolean {
    const { policy, counters, fetch } = this.#components
    if (kind !== PUSH && kind !== ENTRIES) return true
    if (kind === ENTRIES && !fetch.expects(neighbour)) {
      counters.refused('unsolicited')
      neighbour.useless(4)
      return false
    }
    if (length <= Math.min(frameLimit(kind), policy.constraints(neighbour.peer).messageBytes + AROUND_BYTES)) return true
    counters.refused('too_large')
    neighbour.useless(4)
    return false
  }

  frame(neighbour: Neighbour, frame: Frame): void {
    const { counters, intake, fetch, spread, serve, repair } = this.#components
    counters.frame(frame.kind)
    switch (frame.kind) {
      case 'push':
        intake.receive(frame.envelope, neighbour, 'push')
        return
      case 'entries':
        fetch.entries(neighbour, frame)
        return
      case 'subscribe':
        for (const { handle, topic } of frame.topics) this.#subscribed(neighbour, handle, topic)
        return
      case 'unsubscribe':
        for (const handle of frame.handles) this.#unsubscribed(neighbour, handle)
        return
    }
    const shared = neighbour.byHandle.get(frame.handle)
    if (shared === undefined) {
      counters.refused('not_subscribed')
      // An answer that is awaited is given, so that the other side does not wait for it.
      if (frame.kind === 'request' || frame.kind === 'pull') {
        neighbour.outbox.control(encodeFrame({ kind: 'entries', nonce: frame.nonce, state: 'done', cursor: undefined, entries: [] }))
      }
      neighbour.useless()
      return
    }
    switch (frame.kind) {
      case 'announce':
        this.#announced(neighbour, shared, frame.ids, frame.urgent)
        return
      case 'prune':
        shared.eager = false
        return
      case 'request':
        if (frame.graft) shared.eager = true
        for (const id of frame.ids) spread.note(idKey(id), neighbour)
        serve.request(neighbour, shared.topic, frame)
        return
      case 'pull':
        serve.pull(neighbour, shared.topic, frame)
        return
      case 'digest':
        repair.digest(neighbour, shared.topic, frame)
        return
    }
  }

  /** Our stream to it is there: which topics we read, as far as it has to do with them. */
  opened(neighbour: Neighbour): void {
    neighbour.told.clear()
    this.tell(neighbour)
  }

  /** Tells a neighbour of topics that it was not told of yet and may have to do with. */
  tell(neighbour: Neighbour): void {
    if (!neighbour.outbox.open) return
    const { topics } = this.#components
    const news: Topic[] = []
    for (const topic of topics) {
      if (neighbour.told.has(topic) || !this.#concerns(neighbour, topic)) continue
      neighbour.told.add(topic)
      news.push(topic)
    }
    for (let at = 0; at < news.length; at += MAX_TOPICS_PER_FRAME) {
      const part = news.slice(at, at + MAX_TOPICS_PER_FRAME)
      neighbour.outbox.control(encodeFrame({ kind: 'subscribe', topics: part.map(({ handle, hash }) => ({ handle, topic: hash })) }))
    }
    for (const topic of news) this.#met(neighbour, topic)
  }

  /** The topic is gone here. */
  forgetTopic(topic: Topic): void {
    const { neighbours, fetch } = this.#components
    for (const neighbour of neighbours) {
      if (neighbour.told.delete(topic)) neighbour.outbox.control(encodeFrame({ kind: 'unsubscribe', handles: [topic.handle] }))
      const shared = neighbour.sharing(topic)
      if (shared === undefined) continue
      neighbour.shared.delete(topic)
      neighbour.byHandle.delete(shared.handle)
    }
    fetch.forgetTopic(topic)
  }

  /** Whether the neighbour may read the topic or publish to it: others are not told that it exists. */
  #concerns(neighbour: Neighbour, topic: Topic): boolean {
    const { access } = this.#components
    return access.may(neighbour.peer, 'subscribe', topic) || access.may(neighbour.peer, 'publish', topic)
  }

  /** Both sides share a topic: compare once. One of the two begins, the one with the smaller DID. */
  #met(neighbour: Neighbour, topic: Topic): void {
    const { own, repair } = this.#components
    if (neighbour.sharing(topic) !== undefined && neighbour.told.has(topic) && own <= neighbour.peer) repair.begin(neighbour, topic)
  }

  #subscribed(neighbour: Neighbour, handle: number, hash: Uint8Array): void {
    const { topics, counters, policy } = this.#components
    const topic = topics.ofHash(hash)
    let known = neighbour.byHandle.get(handle)
    if (known !== undefined && known.topic !== topic && !this.#concerns(neighbour, known.topic)) {
      // A topic that it has nothing to do with looks in every way like one that does not exist.
      neighbour.byHandle.delete(handle)
      neighbour.shared.delete(known.topic)
      known = undefined
    }
    if (known !== undefined && known.topic !== topic) {
      this.#components.malformed(neighbour, malformed('handle taken'))
      return
    }
    if (topic === undefined) {
      counters.refused('unknown_topic')
      neighbour.useless()
      return
    }
    if (known !== undefined) return
    const limit = policy.constraints(neighbour.peer).subscriptions
    if (neighbour.byHandle.size >= limit && [...neighbour.shared.keys()].filter((shared) => this.#concerns(neighbour, shared)).length >= limit) {
      counters.refused('subscription_limit')
      neighbour.useless()
      return
    }
    if (this.#subscribers(topic) >= MAX_SUBSCRIBERS) {
      counters.refused('topic_limit')
      return
    }
    const before = neighbour.sharing(topic)
    if (before !== undefined) neighbour.byHandle.delete(before.handle)
    const shared: Shared = { topic, handle, eager: true, behind: false }
    neighbour.byHandle.set(handle, shared)
    neighbour.shared.set(topic, shared)
    // Whoever may not have to do with it now is remembered, within its limit: the owner may allow it later. It is given nothing until then.
    if (!this.#concerns(neighbour, topic)) {
      counters.refused('reader_denied')
      neighbour.useless()
      return
    }
    // Ours may have come before it knew the topic: said again, it does no harm.
    neighbour.told.delete(topic)
    this.tell(neighbour)
  }

  #unsubscribed(neighbour: Neighbour, handle: number): void {
    const shared = neighbour.byHandle.get(handle)
    // Coming and going costs us answers.
    neighbour.useless()
    if (shared === undefined) return
    neighbour.byHandle.delete(handle)
    neighbour.shared.delete(shared.topic)
  }

  #announced(neighbour: Neighbour, { topic }: Shared, ids: readonly Uint8Array[], urgent: boolean): void {
    const { counters, spread, fetch, filter } = this.#components
    if (!this.#concerns(neighbour, topic)) {
      counters.refused('carrier_denied')
      neighbour.useless()
      return
    }
    let tooMany = 0
    for (const id of ids) {
      const key = idKey(id)
      const isHere = filter.perhaps(id) && topic.index.get(key) !== undefined
      // What there is no room for is not remembered in any way: ids cost nothing to make up.
      if (isHere || fetch.heard(topic, id, neighbour, urgent ? 'fetch' : 'graft')) spread.note(key, neighbour)
      else tooMany++
    }
    neighbour.useless(Math.ceil(tooMany / IDS_PER_FRAME))
  }

  #subscribers(topic: Topic): number {
    let count = 0
    for (const neighbour of this.#components.neighbours) if (neighbour.sharing(topic) !== undefined) count++
    return count
  }
}
