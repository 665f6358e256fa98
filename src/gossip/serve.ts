import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'
import type { Policy } from '../mesh/types.ts'
import type { Access } from './access.ts'
import type { Cursors } from './cursor.ts'
import type { EntryStore } from './entry-store.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import type { Neighbour } from './neighbour.ts'
import type { Topic } from './topic.ts'
import { type Item, idKey } from './topic-index.ts'
import { type EntriesState, encodeFrame, type Pull, type Request } from './wire.ts'

/** One frame of an answer is filled up to about this. */
const FRAME_BYTES = 48 * 1024
/** Entries of one answer. */
const MAX_ANSWERED = 4_096
/** A neighbour may take its class's bytes of one pull so many times a second, and twice as many at once. */
const PULLS_PER_SECOND = 4
/** The smallest answer counts as so many bytes. */
const LEAST_BYTES = 4_096
/** Ids that cost as much as a frame that brought nothing. */
const IDS_PER_FRAME = 64

export interface ServeComponents {
  readonly clock: Clock
  readonly logger: Logger
  readonly policy: Pick<Policy, 'constraints'>
  readonly access: Access
  readonly store: EntryStore
  readonly cursors: Cursors
  readonly counters: GossipCounters
}

interface State {
  running: number
  readonly bytes: TokenBucket
}

/**
 * Answers REQUEST and PULL, to the asker alone, of topics it subscribed to and may read at that moment, within what its class may take: so many answers at once, so many
 * bytes each and per second. What does not fit is cut and can be asked for again; nothing is queued on a neighbour's behalf.
 */
export class Serve {
  readonly #components: ServeComponents
  readonly #states: Map<Neighbour, State> = new Map()

  constructor(components: ServeComponents) {
    this.#components = components
  }

  request(neighbour: Neighbour, topic: Topic, { nonce, ids }: Request): void {
    if (this.#isBusy(neighbour, topic, nonce)) return
    const items: Item[] = []
    for (const id of ids) {
      const item = topic.index.get(idKey(id))
      if (item !== undefined) items.push(item)
    }
    // Ids of what is not here cost a look each.
    neighbour.useless(Math.ceil((ids.length - items.length) / IDS_PER_FRAME))
    this.#answer(neighbour, topic, nonce, items, Number.POSITIVE_INFINITY, false)
  }

  pull(neighbour: Neighbour, topic: Topic, { nonce, from, to, maxBytes, cursor }: Pull): void {
    if (this.#isBusy(neighbour, topic, nonce)) return
    const { cursors, counters } = this.#components
    let first = from
    if (cursor !== undefined) {
      const after = cursors.read(cursor, topic, neighbour)
      if (after === undefined) {
        counters.refused('cursor')
        neighbour.useless(4)
      } else first = after
    }
    const start = topic.index.before(first)
    const items = topic.index.items.slice(start, Math.min(topic.index.before(to), start + MAX_ANSWERED + 1))
    if (items.length === 0) neighbour.useless()
    this.#answer(neighbour, topic, nonce, items, maxBytes, true)
  }

  forget(neighbour: Neighbour): void {
    this.#states.delete(neighbour)
  }

  /** What is refused is refused before anything is looked up. */
  #isBusy(neighbour: Neighbour, topic: Topic, nonce: number): boolean {
    const { policy, access, counters } = this.#components
    if (!access.may(neighbour.peer, 'subscribe', topic)) {
      counters.refused('reader_denied')
      neighbour.useless()
      this.#say(neighbour, nonce, 'done', [])
      return true
    }
    const limits = policy.constraints(neighbour.peer)
    if (this.#state(neighbour, limits.pullBytes).running < limits.outstandingRequests) return false
    counters.refused('request_limit')
    neighbour.useless()
    this.#say(neighbour, nonce, 'busy', [])
    return true
  }

  #answer(neighbour: Neighbour, topic: Topic, nonce: number, items: readonly Item[], maxBytes: number, pull: boolean): void {
    const { policy, counters, logger } = this.#components
    const limits = policy.constraints(neighbour.peer)
    const state = this.#state(neighbour, limits.pullBytes)
    const budget = Math.min(maxBytes, limits.pullBytes)
    let count = 0
    let bytes = 0
    // At least one, so that the largest entry can be had.
    while (count < items.length && count < MAX_ANSWERED && (count === 0 || bytes + (items[count] as Item).size <= budget))
      bytes += (items[count++] as Item).size
    if (bytes > 0 && !state.bytes.take(Math.min(Math.max(bytes, LEAST_BYTES), limits.pullBytes))) {
      counters.refused('answer_budget')
      neighbour.useless()
      this.#say(neighbour, nonce, 'busy', [])
      return
    }
    state.running++
    const cut = count < items.length
    this.#give(neighbour, topic, nonce, items.slice(0, count), cut, pull)
      .catch((error: unknown) => logger.error('gossip answer failed', { topic: topic.name, error }))
      .finally(() => {
        state.running--
      })
  }

  async #give(neighbour: Neighbour, topic: Topic, nonce: number, items: readonly Item[], cut: boolean, pull: boolean): Promise<void> {
    const { store, cursors, access } = this.#components
    let entries: Uint8Array[] = []
    let length = 0
    for (const item of items) {
      const bytes = await store.get(topic, item)
      // Gone since it was looked up.
      if (bytes === undefined) continue
      if (length > 0 && length + bytes.length > FRAME_BYTES) {
        this.#say(neighbour, nonce, 'more', entries)
        entries = []
        length = 0
        await neighbour.outbox.room()
        // A neighbour that takes its time is not given what it may not read any more.
        if (!access.may(neighbour.peer, 'subscribe', topic)) {
          this.#say(neighbour, nonce, 'done', [])
          return
        }
      }
      entries.push(bytes)
      length += bytes.length
    }
    const last = items.at(-1)
    this.#say(neighbour, nonce, cut ? 'cut' : 'done', entries, cut && pull && last !== undefined ? cursors.make(last, topic, neighbour) : undefined)
  }

  #say(neighbour: Neighbour, nonce: number, state: EntriesState, entries: readonly Uint8Array[], cursor?: Uint8Array): void {
    neighbour.outbox.control(encodeFrame({ kind: 'entries', nonce, state, cursor, entries }))
  }

  #state(neighbour: Neighbour, pullBytes: number): State {
    const known = this.#states.get(neighbour)
    if (known !== undefined) return known
    const state = { running: 0, bytes: new TokenBucket(this.#components.clock, PULLS_PER_SECOND * pullBytes, 2 * PULLS_PER_SECOND * pullBytes) }
    this.#states.set(neighbour, state)
    return state
  }
}
