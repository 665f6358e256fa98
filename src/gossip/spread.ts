import type { Clock, Timer } from '../core/clock.ts'
import type { Access } from './access.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import type { Neighbour, Shared } from './neighbour.ts'
import type { Topic } from './topic.ts'
import { idKey } from './topic-index.ts'
import { encodeFrame, MAX_ANNOUNCED } from './wire.ts'

/**
 * # How a new entry spreads
 *
 * Along a tree over the links (Plumtree, Leitao et al. 2007): whoever gets an entry first from a neighbour keeps that neighbour as a branch; a copy that comes second
 * is answered with PRUNE, and that link only carries ids from then on. An id that was announced and whose entry does not come is asked for with a graft, which makes the
 * link a branch again. So each node gets each entry about once, and a broken branch costs the wait for an announce.
 *
 * ```text
 * A ===== B ===== D        === entries, pushed at once
 *  \     /       /         --- ids, every 100 ms, not to those who have the entry as far as is known
 *   \--- C =====/
 * ```
 *
 * A neighbour gets entries and ids only of topics it subscribed to and may read, asked anew for each entry.
 */
const ANNOUNCE_MS = 100
/** Ids that wait for one neighbour and topic. */
const MAX_WAITING = 4_096
/** Entries of which it is remembered who has them. */
const MAX_RECENT = 8_192

export class Spread {
  readonly #clock: Clock
  readonly #access: Access
  readonly #counters: GossipCounters
  readonly #waiting: Map<Neighbour, Map<Shared, Uint8Array[]>> = new Map()
  #young: Map<string, Set<object>> = new Map()
  #old: Map<string, Set<object>> = new Map()
  #timer: Timer | undefined
  /** A neighbour missed announces: compare with it. */
  onBehind: (neighbour: Neighbour, topic: Topic) => void = () => undefined

  constructor(clock: Clock, access: Access, counters: GossipCounters) {
    this.#clock = clock
    this.#access = access
    this.#counters = counters
  }

  /** The neighbour has this entry, or will have it. */
  note(key: string, neighbour: Neighbour): void {
    const has = this.#young.get(key) ?? this.#old.get(key)
    if (has !== undefined) {
      has.add(neighbour.stamp)
      return
    }
    if (this.#young.size >= MAX_RECENT / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, new Set([neighbour.stamp]))
  }

  has(key: string, neighbour: Neighbour): boolean {
    return (this.#young.get(key) ?? this.#old.get(key))?.has(neighbour.stamp) === true
  }

  /** To everybody who reads the topic: pushed along branches, announced to the others. */
  spread(topic: Topic, key: string, id: Uint8Array, envelope: Uint8Array, neighbours: Iterable<Neighbour>): void {
    let frame: Uint8Array | undefined
    for (const neighbour of neighbours) {
      const shared = neighbour.sharing(topic)
      if (shared === undefined || this.has(key, neighbour) || !this.#access.may(neighbour.peer, 'subscribe', topic)) continue
      if (shared.eager) {
        frame ??= encodeFrame({ kind: 'push', envelope })
        if (neighbour.outbox.push(frame)) {
          this.note(key, neighbour)
          continue
        }
      }
      this.#announce(neighbour, shared, id)
    }
  }

  /** A second copy came on this link: it carries ids only, both ways. */
  prune(neighbour: Neighbour, topic: Topic): void {
    const shared = neighbour.sharing(topic)
    if (shared === undefined || !neighbour.told.has(topic)) return
    shared.eager = false
    neighbour.outbox.control(encodeFrame({ kind: 'prune', handle: topic.handle }))
  }

  forget(neighbour: Neighbour): void {
    this.#waiting.delete(neighbour)
  }

  close(): void {
    this.#timer?.cancel()
    this.#waiting.clear()
  }

  #announce(neighbour: Neighbour, shared: Shared, id: Uint8Array): void {
    const topics = this.#waiting.get(neighbour) ?? new Map<Shared, Uint8Array[]>()
    this.#waiting.set(neighbour, topics)
    const ids = topics.get(shared)
    if (ids === undefined) topics.set(shared, [id])
    else if (ids.length < MAX_WAITING) ids.push(id)
    else {
      this.#counters.dropped(1)
      shared.behind = true
    }
    this.#timer ??= this.#clock.after(ANNOUNCE_MS, () => {
      this.#timer = undefined
      this.#flush()
    })
  }

  #flush(): void {
    for (const [neighbour, topics] of this.#waiting) {
      // A slow neighbour's ids wait on; beyond the bound they are dropped, and it is compared with instead.
      if (neighbour.outbox.congested) continue
      this.#waiting.delete(neighbour)
      for (const [shared, ids] of topics) this.#tell(neighbour, shared, ids)
    }
    if (this.#waiting.size > 0)
      this.#timer ??= this.#clock.after(ANNOUNCE_MS, () => {
        this.#timer = undefined
        this.#flush()
      })
  }

  #tell(neighbour: Neighbour, shared: Shared, ids: readonly Uint8Array[]): void {
    const { topic } = shared
    if (neighbour.sharing(topic) !== shared || !neighbour.told.has(topic) || !this.#access.may(neighbour.peer, 'subscribe', topic)) return
    const news = ids.filter((id) => !this.has(idKey(id), neighbour))
    for (let at = 0; at < news.length; at += MAX_ANNOUNCED) {
      neighbour.outbox.control(encodeFrame({ kind: 'announce', handle: topic.handle, urgent: false, ids: news.slice(at, at + MAX_ANNOUNCED) }))
    }
    if (!shared.behind) return
    shared.behind = false
    this.onBehind(neighbour, topic)
  }
}
