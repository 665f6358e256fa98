import type { Clock } from '../core/clock.ts'
import { type Random, seededRandom } from '../core/random.ts'
import type { NetworkModel } from '../transport/memory.ts'
import type { Scheduler } from './scheduler.ts'

/** The way between two machines, the same in both directions unless one is given by itself. */
export interface LinkConditions {
  /** One way. Default 10 ms. */
  readonly latencyMs?: number
  /** Up to so much more for each write, evenly spread. Connections never reorder; two connections overtake each other. Default 0. */
  readonly jitterMs?: number
  /** Part of the segments that is lost and sent again, 0..1. Default 0. */
  readonly loss?: number
  /** Of one direction, shared by all its connections. Default unlimited. */
  readonly bytesPerSecond?: number
}

/** What went one way, or everywhere. */
export interface Traffic {
  readonly bytes: number
  readonly segments: number
  readonly retransmissions: number
}

/** Ethernet's 1500 less headers: what is lost is one of these. */
export const SEGMENT_BYTES = 1_400
/** RFC 6298 allows less than its 1 s; systems take 200 ms. Doubles with each loss of the same segment, up to a minute. */
const MIN_RTO_MS = 200
const MAX_RTO_MS = 60_000
/** Linux's tcp_retries2, and tcp_syn_retries with 1 s before the first. */
const MAX_RETRANSMISSIONS = 15
const MAX_QUESTIONS = 6
const FIRST_QUESTION_MS = 1_000

interface Way {
  readonly from: string
  readonly to: string
  readonly random: Random
  latencyMs: number
  jitterMs: number
  loss: number
  bytesPerSecond: number
  /** When the last byte handed to this direction has left. */
  freeAt: number
  bytes: number
  segments: number
  retransmissions: number
}

/**
 * How bytes travel. A connection is reliable and in order, as over TCP, so loss shows as delay: a lost segment comes again after the retransmission timeout,
 * which doubles, and holds up what was sent behind it. During a partition everything is lost; after it the next retransmission gets through. A connection that
 * gets nothing through for too long stays dead; its ends find out by their keep-alive.
 */
export class Links implements NetworkModel {
  readonly clock: Clock
  readonly #scheduler: Scheduler
  readonly #seed: string
  readonly #defaults: Required<LinkConditions>
  readonly #onArrival: (from: string, to: string, bytes: number) => void
  readonly #ways = new Map<string, Map<string, Way>>()
  /** Side of the partition each name is on; nothing when there is none. */
  #sides: ReadonlyMap<string, number> | undefined

  constructor(scheduler: Scheduler, seed: string, defaults: LinkConditions, onArrival: (from: string, to: string, bytes: number) => void) {
    this.#scheduler = scheduler
    this.#seed = seed
    this.#defaults = { latencyMs: 10, jitterMs: 0, loss: 0, bytesPerSecond: Number.POSITIVE_INFINITY, ...checked(defaults) }
    this.#onArrival = onArrival
    this.clock = { now: () => scheduler.now, monotonic: () => scheduler.now, after: (ms, run) => scheduler.after(ms, run) }
  }

  /** Of one direction; what is not given stays. */
  set(from: string, to: string, conditions: LinkConditions): void {
    Object.assign(this.#way(from, to), checked(conditions))
  }

  /** Names on different sides do not reach each other; names on no side are on one of their own. */
  partition(sides: readonly (readonly string[])[]): void {
    this.#sides = new Map(sides.flatMap((names, side) => names.map((name) => [name, side] as const)))
  }

  heal(): void {
    this.#sides = undefined
  }

  traffic(from?: string, to?: string): Traffic {
    const total = { bytes: 0, segments: 0, retransmissions: 0 }
    for (const ways of from === undefined ? this.#ways.values() : [this.#ways.get(from) ?? new Map<string, Way>()]) {
      for (const way of ways.values()) {
        if (to !== undefined && way.to !== to) continue
        total.bytes += way.bytes
        total.segments += way.segments
        total.retransmissions += way.retransmissions
      }
    }
    return total
  }

  travelMs(from: string, to: string, bytes: number): number {
    const way = this.#way(from, to)
    const { now } = this.#scheduler
    way.freeAt = Math.max(now, way.freeAt) + (bytes / way.bytesPerSecond) * 1_000
    const ms = way.freeAt - now + latency(way)
    if (way.loss === 0) return ms
    let worst = 0
    for (let left = Math.max(1, segmentsOf(bytes)); left > 0; left--) {
      let lost = 0
      while (way.random.unit() < way.loss && lost <= MAX_RETRANSMISSIONS) lost++
      way.retransmissions += lost
      if (lost > worst) worst = lost
    }
    if (worst > MAX_RETRANSMISSIONS) return Number.POSITIVE_INFINITY
    let delay = 0
    for (let attempt = 0; attempt < worst; attempt++) delay += timeout(way, attempt)
    return ms + delay
  }

  passes(from: string, to: string): boolean {
    return this.#sides === undefined || this.#sides.get(from) === this.#sides.get(to)
  }

  againMs(from: string, to: string, attempt: number): number {
    const way = this.#way(from, to)
    way.retransmissions++
    return attempt < MAX_RETRANSMISSIONS ? timeout(way, attempt) : Number.POSITIVE_INFINITY
  }

  questionMs(from: string, to: string): number | undefined {
    const ways = [this.#way(from, to), this.#way(to, from)]
    let ms = 0
    for (const way of ways) {
      if (way.loss > 0 && way.random.unit() < way.loss) return undefined
      ms += latency(way)
    }
    return ms
  }

  askAgainMs(attempt: number): number {
    return attempt < MAX_QUESTIONS ? FIRST_QUESTION_MS * 2 ** attempt : Number.POSITIVE_INFINITY
  }

  arrived(from: string, to: string, bytes: number): void {
    const way = this.#way(from, to)
    way.bytes += bytes
    way.segments += Math.max(1, segmentsOf(bytes))
    this.#onArrival(from, to, bytes)
  }

  #way(from: string, to: string): Way {
    const ways = this.#ways.get(from) ?? new Map<string, Way>()
    this.#ways.set(from, ways)
    let way = ways.get(to)
    if (way === undefined) {
      const random = seededRandom(`${this.#seed} way ${from} ${to}`)
      way = { from, to, random, ...this.#defaults, freeAt: 0, bytes: 0, segments: 0, retransmissions: 0 }
      ways.set(to, way)
    }
    return way
  }
}

function segmentsOf(bytes: number): number {
  return Math.ceil(bytes / SEGMENT_BYTES)
}

function latency({ latencyMs, jitterMs, random }: Way): number {
  return jitterMs === 0 ? latencyMs : latencyMs + jitterMs * random.unit()
}

function timeout({ latencyMs, jitterMs }: Way, attempt: number): number {
  return Math.min(MAX_RTO_MS, Math.max(MIN_RTO_MS, 2 * (2 * latencyMs + jitterMs)) * 2 ** attempt)
}

function checked(conditions: LinkConditions): LinkConditions {
  const { latencyMs = 0, jitterMs = 0, loss = 0, bytesPerSecond = 1 } = conditions
  if (!(latencyMs >= 0 && latencyMs < Number.POSITIVE_INFINITY)) throw new TypeError('latencyMs must be a number of ms, 0 or more')
  if (!(jitterMs >= 0 && jitterMs < Number.POSITIVE_INFINITY)) throw new TypeError('jitterMs must be a number of ms, 0 or more')
  if (!(loss >= 0 && loss <= 1)) throw new TypeError('loss must lie between 0 and 1')
  if (!(bytesPerSecond > 0)) throw new TypeError('bytesPerSecond must be above 0')
  return conditions
}
