import type { Clock, Timer } from '../core/clock.ts'
import type { Random } from '../core/random.ts'
import type { RecordHead } from '../mesh/messages/types.ts'
import type { Policy } from '../mesh/types.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import type { Intake, Way } from './intake.ts'
import { type Missing, MissingTable } from './missing.ts'
import type { Neighbour } from './neighbour.ts'
import { FIRST_BACKOFF_MS, Pace } from './pace.ts'
import type { Topic } from './topic.ts'
import { atOrBehind, idKey } from './topic-index.ts'
import { type Bound, type Entries, encodeFrame, MAX_REQUESTED } from './wire.ts'

/**
 * # Asking for entries
 *
 * Ids that are known and whose entries are not here wait in one table, each with the neighbours that have it, in the order in which they said so. When its time has come
 * (a while after an announce, since the entry is probably on its way along the tree; at once when a comparison found it) the first of them is asked, then the next.
 * Ranges are pulled from one neighbour per topic at a time, page by page.
 *
 * Open requests with one neighbour are limited by its class, unanswered ones end after `ANSWER_MS` without a sign of progress, and a neighbour that says it is busy is left alone
 * for a while that doubles. What nobody asked for is not taken. No neighbour holds up the others: answers and pulls end after a time, whatever signs of life there are.
 */
const GRAFT_MS = 500
export const ANSWER_MS = 5_000
const MAX_PULLS = 64
/** An answer that goes on and on ends, so that what was asked for can be asked of others, and so does a pull, so that others are compared with. */
const MAX_REQUEST_MS = 20_000
const MAX_PULL_MS = 60_000
/** A neighbour whose pull ended so, with less than this brought, is not pulled from for a while that doubles. */
const MIN_PULLED_BYTES = 2 ** 20

interface Open {
  readonly neighbour: Neighbour
  readonly nonce: number
  readonly topic: Topic
  /** What was asked for: it may have come by another way meanwhile, and still be in the answer. */
  readonly ids: ReadonlyMap<string, Missing> | undefined
  readonly pull: Range | undefined
  timer: Timer
  taken: number
  /** It ends then, by the monotonic clock, however much is still to come. */
  readonly untilMs: number
}

interface Range {
  readonly from: Bound
  readonly to: Bound
}

interface Pulls {
  readonly neighbour: Neighbour
  /** Of the comparison that found them. */
  readonly session: number
  readonly ranges: Range[]
  taken: number
  /** Of entries that were not here. */
  bytes: number
  readonly untilMs: number
  /** Where the first range goes on. */
  cursor: Uint8Array | undefined
}

export interface FetchComponents {
  readonly clock: Clock
  readonly random: Random
  readonly policy: Pick<Policy, 'constraints' | 'classOf'>
  readonly intake: Intake
  readonly counters: GossipCounters
  /** A range was pulled to its end; `taken` entries came. */
  onPulled(neighbour: Neighbour, topic: Topic, taken: number): void
}

export class Fetch {
  readonly #components: FetchComponents
  readonly #pace: Pace
  readonly #missing: MissingTable = new MissingTable()
  /** What was asked and is not answered, by the number of the question. */
  readonly #open: Map<Neighbour, Map<number, Open>> = new Map()
  /** Ranges to pull, by topic; the first one is under way. */
  readonly #pulls: Map<Topic, Pulls> = new Map()
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY

  constructor(components: FetchComponents) {
    this.#components = components
    this.#pace = new Pace(components.clock, components.random, components.policy)
  }

  get missing(): number {
    return this.#missing.size
  }

  /** `neighbour` has an entry that is not here. False when there is no room to remember it. */
  heard(topic: Topic, id: Uint8Array, neighbour: Neighbour, way: 'graft' | 'fetch'): boolean {
    const { clock, intake, counters } = this.#components
    const key = idKey(id)
    if (topic.index.get(key) !== undefined || intake.alsoFrom(key, neighbour) || intake.refusedLately(key)) return true
    const due = clock.monotonic() + (way === 'graft' ? GRAFT_MS : 0)
    if (!this.#missing.add(topic, id, neighbour, way, due)) {
      counters.refused('missing_limit')
      return false
    }
    this.#arm(due)
    return true
  }

  /** The entry came, by whatever way. */
  arrived(key: string): void {
    const missing = this.#missing.get(key)
    if (missing !== undefined) this.#missing.drop(missing)
  }

  /** Pulls what stands between bounds, found by one comparison, unless another one has something of this topic pulled already. */
  pull(neighbour: Neighbour, topic: Topic, ranges: readonly Range[], session: number): void {
    const current = this.#pulls.get(topic)
    if (current !== undefined) {
      if (!this.pullingElse(neighbour, topic, session) && current.ranges.length + ranges.length <= MAX_PULLS) current.ranges.push(...ranges)
      return
    }
    if (ranges.length === 0 || this.#pace.resting(neighbour)) return
    const now = this.#components.clock.monotonic()
    this.#pulls.set(topic, { neighbour, session, ranges: ranges.slice(0, MAX_PULLS), taken: 0, bytes: 0, untilMs: now + MAX_PULL_MS, cursor: undefined })
    this.#pullNext(topic)
  }

  /** Whether something of the topic is being pulled. */
  pulling(topic: Topic): boolean {
    return this.#pulls.has(topic)
  }

  /** Whether it is for another comparison than this one: what this one finds is probably on its way. */
  pullingElse(neighbour: Neighbour, topic: Topic, session: number): boolean {
    const current = this.#pulls.get(topic)
    return current !== undefined && (current.neighbour !== neighbour || current.session !== session)
  }

  /** Whether ENTRIES of this neighbour are awaited at all. */
  expects(neighbour: Neighbour): boolean {
    return this.#openOf(neighbour) > 0
  }

  entries(neighbour: Neighbour, frame: Entries): void {
    const { counters, intake } = this.#components
    const open = this.#open.get(neighbour)?.get(frame.nonce)
    if (open === undefined) {
      counters.refused('unsolicited')
      neighbour.useless(1 + frame.entries.length)
      return
    }
    const way = wayOf(open)
    let news = 0
    for (const bytes of frame.entries) {
      intake.receive(bytes, neighbour, way, (topic, head) => {
        if (topic !== open.topic || !isAsked(open, head)) return false
        if (!intake.settled(topic, idKey(head.id))) news += bytes.length
        return true
      })
    }
    open.taken += frame.entries.length
    this.#pace.charge(neighbour, frame.entries)
    const pulls = this.#pulls.get(open.topic)
    if (open.pull !== undefined && pulls?.neighbour === neighbour) pulls.bytes += news
    if (frame.state === 'more') {
      // Whoever only says that more will come is not waited for.
      if (news === 0) return
      open.timer.cancel()
      open.timer = this.#deadline(open)
      return
    }
    this.#end(open)
    if (frame.state === 'busy') this.#arm(this.#pace.backOff(neighbour))
    else this.#pace.answered(neighbour)
    if (open.pull !== undefined) this.#pulled(open, open.pull, frame)
    else this.#answered(open, frame.state !== 'done')
    this.#run()
  }

  /** A neighbour or its stream is gone: others are asked. */
  forget(neighbour: Neighbour): void {
    const all = this.#open.get(neighbour)
    this.#open.delete(neighbour)
    if (neighbour.gone) this.#pace.forget(neighbour)
    for (const open of all?.values() ?? []) {
      open.timer.cancel()
      for (const missing of open.ids?.values() ?? []) if (missing.asked === open) missing.asked = undefined
    }
    for (const missing of [...this.#missing]) this.#missing.without(missing, neighbour)
    for (const [topic, pull] of this.#pulls) if (pull.neighbour === neighbour) this.#pulls.delete(topic)
    this.#run()
  }

  forgetTopic(topic: Topic): void {
    for (const missing of [...this.#missing]) if (missing.topic === topic) this.#missing.drop(missing)
    this.#pulls.delete(topic)
  }

  close(): void {
    this.#timer?.cancel()
    for (const all of this.#open.values()) for (const { timer } of all.values()) timer.cancel()
    this.#open.clear()
    this.#missing.clear()
    this.#pulls.clear()
  }

  #openOf(neighbour: Neighbour): number {
    return this.#open.get(neighbour)?.size ?? 0
  }

  #mayAsk(neighbour: Neighbour): boolean {
    return this.#pace.mayAsk(neighbour, this.#openOf(neighbour))
  }

  /** Asks for everything whose time has come, as far as neighbours may be asked. */
  #run(): void {
    const now = this.#components.clock.monotonic()
    const batches = new Map<Neighbour, Map<Topic, Missing[]>>()
    let next = Number.POSITIVE_INFINITY
    for (const missing of this.#missing) {
      if (missing.asked !== undefined) continue
      if (missing.due > now) {
        next = Math.min(next, missing.due)
        continue
      }
      const source = missing.sources.find((neighbour) => neighbour.told.has(missing.topic) && this.#mayAsk(neighbour))
      if (source === undefined) {
        next = Math.min(next, now + FIRST_BACKOFF_MS)
        continue
      }
      const topics = batches.get(source) ?? new Map<Topic, Missing[]>()
      batches.set(source, topics)
      const list = topics.get(missing.topic)
      if (list === undefined) topics.set(missing.topic, [missing])
      else if (list.length < MAX_REQUESTED) list.push(missing)
    }
    for (const [neighbour, topics] of batches) {
      for (const [topic, list] of topics) if (this.#mayAsk(neighbour)) this.#request(neighbour, topic, list)
    }
    for (const topic of this.#pulls.keys()) this.#pullNext(topic)
    if (next < Number.POSITIVE_INFINITY) this.#arm(next)
  }

  #request(neighbour: Neighbour, topic: Topic, list: readonly Missing[]): void {
    const shared = neighbour.sharing(topic)
    const graft = list.some(({ way }) => way === 'graft')
    const open = this.#begin(neighbour, topic, new Map(list.map((missing) => [missing.key, missing])), undefined)
    for (const missing of list) missing.asked = open
    if (graft && shared !== undefined) shared.eager = true
    neighbour.outbox.control(encodeFrame({ kind: 'request', nonce: open.nonce, handle: topic.handle, graft, ids: list.map(({ id }) => id) }))
  }

  #pullNext(topic: Topic): void {
    const pulls = this.#pulls.get(topic)
    if (pulls === undefined) return
    const { neighbour, ranges } = pulls
    if (this.#components.clock.monotonic() >= pulls.untilMs) {
      this.#endPulls(topic)
      return
    }
    const range = ranges[0]
    if (range === undefined || !neighbour.told.has(topic)) {
      this.#pulls.delete(topic)
      return
    }
    for (const { pull, topic: other } of this.#open.get(neighbour)?.values() ?? []) if (pull !== undefined && other === topic) return
    if (!this.#mayAsk(neighbour)) {
      this.#arm(Math.max(this.#pace.busyUntil(neighbour), this.#components.clock.monotonic() + FIRST_BACKOFF_MS))
      return
    }
    const open = this.#begin(neighbour, topic, undefined, range)
    const maxBytes = this.#components.policy.constraints(neighbour.peer).pullBytes
    neighbour.outbox.control(encodeFrame({ kind: 'pull', nonce: open.nonce, handle: topic.handle, ...range, maxBytes, cursor: pulls.cursor }))
  }

  #pulled(open: Open, range: Range, frame: Entries): void {
    const { topic, neighbour } = open
    const pulls = this.#pulls.get(topic)
    if (pulls === undefined || pulls.neighbour !== neighbour || pulls.ranges[0] !== range) return
    pulls.taken += open.taken
    if (frame.state === 'busy') return
    if (frame.state === 'cut' && frame.cursor !== undefined && open.taken > 0) {
      pulls.cursor = frame.cursor
      this.#pullNext(topic)
      return
    }
    pulls.cursor = undefined
    pulls.ranges.shift()
    if (pulls.ranges.length > 0) {
      this.#pullNext(topic)
      return
    }
    this.#pulls.delete(topic)
    this.#pace.pulled(neighbour)
    this.#components.onPulled(neighbour, topic, pulls.taken)
  }

  /** What was asked for and did not come: once more when the answer was cut, else another neighbour. */
  #answered(open: Open, again: boolean): void {
    const now = this.#components.clock.monotonic()
    for (const missing of open.ids?.values() ?? []) {
      if (missing.asked !== open) continue
      missing.asked = undefined
      if (this.#components.intake.settled(missing.topic, missing.key)) this.#missing.drop(missing)
      else if (again) missing.due = now
      else {
        open.neighbour.useless()
        this.#missing.without(missing, open.neighbour)
      }
    }
  }

  #begin(neighbour: Neighbour, topic: Topic, ids: ReadonlyMap<string, Missing> | undefined, pull: Range | undefined): Open {
    const nonce = Math.floor(this.#components.random.unit() * 0x1_0000_0000)
    const all = this.#open.get(neighbour) ?? new Map<number, Open>()
    this.#open.set(neighbour, all)
    const untilMs = (pull === undefined ? undefined : this.#pulls.get(topic)?.untilMs) ?? this.#components.clock.monotonic() + MAX_REQUEST_MS
    const open: Open = { neighbour, nonce, topic, ids, pull, timer: { cancel: () => undefined }, taken: 0, untilMs }
    open.timer = this.#deadline(open)
    all.set(nonce, open)
    return open
  }

  #deadline(open: Open): Timer {
    const { clock } = this.#components
    return clock.after(Math.max(0, Math.min(ANSWER_MS, open.untilMs - clock.monotonic())), () => {
      this.#components.counters.refused('request_timeout')
      this.#end(open)
      this.#arm(this.#pace.backOff(open.neighbour))
      if (open.pull !== undefined) this.#endPulls(open.topic)
      else this.#answered(open, false)
      this.#run()
    })
  }

  /** A pull that took its time: what is left is found by the next comparison, with whom it may be. */
  #endPulls(topic: Topic): void {
    const pulls = this.#pulls.get(topic)
    this.#pulls.delete(topic)
    if (pulls !== undefined && pulls.bytes < MIN_PULLED_BYTES) this.#pace.rest(pulls.neighbour)
  }

  #end(open: Open): void {
    open.timer.cancel()
    this.#open.get(open.neighbour)?.delete(open.nonce)
  }

  /** One timer, for the earliest thing that is due. While much is being verified the rest is surely on its way, so nothing is asked for then. */
  #arm(at: number): void {
    if (at >= this.#timerAt) return
    const { clock, intake } = this.#components
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer = clock.after(Math.max(0, at - clock.monotonic()), () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      if (intake.pending > 256) this.#arm(clock.monotonic() + FIRST_BACKOFF_MS)
      else this.#run()
    })
  }
}

/** An answer brings what was asked for and nothing else. */
function isAsked({ ids, pull }: Open, head: Pick<RecordHead, 'id' | 'timeMs'>): boolean {
  if (pull !== undefined) return atOrBehind(head, pull.from) && !atOrBehind(head, pull.to)
  return ids?.has(idKey(head.id)) === true
}

function wayOf({ ids }: Open): Way {
  for (const { way } of ids?.values() ?? []) if (way === 'graft') return 'graft'
  return 'fetch'
}
