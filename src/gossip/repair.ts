import type { Clock, Timer } from '../core/clock.ts'
import type { Random } from '../core/random.ts'
import { TokenBucket } from '../mesh/admission-rate.ts'
import type { Access } from './access.ts'
import type { Fetch } from './fetch.ts'
import type { GossipCounters } from './gossip-metrics.ts'
import type { Neighbour } from './neighbour.ts'
import { answerDigest, firstDigest } from './reconcile.ts'
import type { Topic } from './topic.ts'
import { compareBounds, END, START } from './topic-index.ts'
import { type Bound, type Digest, encodeFrame, MAX_ANNOUNCED } from './wire.ts'

/**
 * # Anti-entropy
 *
 * What the tree lost, what came while a node was away, and what two halves of a network did apart is found by comparing topics with neighbours: when a link comes up, every
 * 10 s plus up to 2 s with some of them, a moment after a comparison brought something new (so that it goes on to the neighbours behind), and when announces were dropped.
 *
 * A neighbour may begin a comparison of a topic every 4 s, and one that runs has a budget of rounds and of entries hashed; what exceeds it is ignored and counted.
 */
export const PERIOD_MS = 10_000
export const JITTER_MS = 2_000
const CASCADE_MS = 200
/** Where both sides were equal and nothing changed here since, the other side begins if it has news; this is how long that is relied on. */
const RELY_MS = 60_000
/** Entries this young are still on their way along the tree: periodic comparisons leave them out. */
const YOUNG_MS = 3_000
const SESSION_MS = 30_000
const MAX_ROUNDS = 16
/** Comparisons that one neighbour may begin per topic: one every 4 s, two at once. */
const BEGIN_PER_SECOND = 0.25
const BEGIN_BURST = 2
/** Entries hashed in one session: as often as a full comparison takes, and once more. */
const WORK_FACTOR = 12
const WORK_BASE = 10_000

interface Session {
  readonly nonce: number
  readonly stamp: object
  until: number
  work: number
  frames: number
  /** Begun here. */
  readonly own: boolean
  /** It was about everything kept here, young entries too. */
  readonly whole: boolean
  differed: boolean
}

interface State {
  own: Session | undefined
  theirs: Session | undefined
  readonly begins: TokenBucket
  /** What was kept here when both sides were last found equal, and when that was. */
  equal: { readonly stamp: object; readonly generation: number; readonly atMs: number } | undefined
}

export interface RepairComponents {
  readonly clock: Clock
  readonly random: Random
  readonly access: Access
  readonly fetch: Fetch
  readonly counters: GossipCounters
  readonly neighbours: Iterable<Neighbour>
  readonly topics: () => Iterable<Topic>
  /** Drops what is too old, so that both sides talk about the same. */
  readonly settle: (topic: Topic) => void
  /** Before each round: standing may have changed, so that neighbours have to do with topics that they had not. */
  readonly onRound: () => void
}

export class Repair {
  readonly #components: RepairComponents
  readonly #states: Map<Neighbour, Map<Topic, State>> = new Map()
  readonly #cascades: Map<Topic, Timer> = new Map()
  #timer: Timer | undefined

  constructor(components: RepairComponents) {
    this.#components = components
  }

  start(): void {
    const { clock, random } = this.#components
    this.#timer = clock.after(PERIOD_MS + random.unit() * JITTER_MS, () => {
      this.start()
      this.#round()
    })
  }

  close(): void {
    this.#timer?.cancel()
    for (const timer of this.#cascades.values()) timer.cancel()
    this.#cascades.clear()
    this.#states.clear()
  }

  forget(neighbour: Neighbour): void {
    this.#states.delete(neighbour)
  }

  /** Compares a topic with a neighbour that shares it, up to a bound. */
  begin(neighbour: Neighbour, topic: Topic, upper: Bound = END): void {
    const { clock, random, access, settle, counters, fetch } = this.#components
    if (neighbour.sharing(topic) === undefined || !neighbour.told.has(topic) || !neighbour.outbox.open || neighbour.outbox.congested) return
    // Ids are told to readers only; who may only publish begins itself.
    if (!access.may(neighbour.peer, 'subscribe', topic)) return
    // What is compared while much of it is on its way only differs.
    if (fetch.pulling(topic)) return
    const state = this.#state(neighbour, topic)
    const now = clock.monotonic()
    if (state.own !== undefined && state.own.stamp === neighbour.stamp && now < state.own.until) return
    settle(topic)
    const from = floorOf(topic, clock)
    if (compareBounds(from, upper) >= 0) return
    const nonce = Math.floor(random.unit() * 0x1_0000_0000)
    state.own = { nonce, stamp: neighbour.stamp, until: now + SESSION_MS, work: 0, frames: 0, own: true, whole: isWhole(topic, upper), differed: false }
    counters.session('begun')
    neighbour.outbox.control(encodeFrame({ kind: 'digest', nonce, handle: topic.handle, round: 0, ...firstDigest(topic.index, from, upper) }))
  }

  /** Something new came with a comparison: the neighbours behind may lack it too. */
  cascade(topic: Topic, from: Neighbour): void {
    if (this.#cascades.has(topic)) return
    const { clock, random, neighbours } = this.#components
    this.#cascades.set(
      topic,
      clock.after(CASCADE_MS * (1 + random.unit()), () => {
        this.#cascades.delete(topic)
        for (const neighbour of neighbours) if (neighbour !== from) this.begin(neighbour, topic)
      }),
    )
  }

  digest(neighbour: Neighbour, topic: Topic, digest: Digest): void {
    const { access, counters, clock, settle, fetch } = this.#components
    if (!access.may(neighbour.peer, 'subscribe', topic)) {
      counters.refused('reader_denied')
      neighbour.useless()
      return
    }
    settle(topic)
    const session = this.#session(neighbour, topic, digest)
    if (session === undefined) {
      counters.refused('digest_storm')
      neighbour.useless(4)
      return
    }
    const limit = WORK_FACTOR * topic.index.size + WORK_BASE
    session.frames++
    if (digest.round > MAX_ROUNDS || session.work > limit || session.frames > MAX_ROUNDS + topic.index.size / 64) {
      counters.refused('digest_budget')
      neighbour.useless(4)
      return
    }
    session.until = clock.monotonic() + SESSION_MS
    const outcome = answerDigest(topic.index, digest, floorOf(topic, clock))
    if (outcome === undefined) {
      counters.refused('digest_budget')
      neighbour.useless(4)
      return
    }
    session.work += outcome.work
    const { answers, wanted, lacking, pulls } = outcome
    for (const answer of answers) {
      neighbour.outbox.control(encodeFrame({ kind: 'digest', nonce: digest.nonce, handle: topic.handle, round: digest.round + 1, ...answer }))
    }
    if (digest.ranges.length > 0 && answers.length === 0) {
      neighbour.outbox.control(
        encodeFrame({ kind: 'digest', nonce: digest.nonce, handle: topic.handle, round: digest.round + 1, from: digest.from, ranges: [] }),
      )
    }
    for (let at = 0; at < lacking.length; at += MAX_ANNOUNCED) {
      neighbour.outbox.control(encodeFrame({ kind: 'announce', handle: topic.handle, urgent: true, ids: lacking.slice(at, at + MAX_ANNOUNCED) }))
    }
    if (!fetch.pullingElse(neighbour, topic, digest.nonce)) {
      for (const id of wanted) fetch.heard(topic, id, neighbour, 'fetch')
      fetch.pull(neighbour, topic, pulls, digest.nonce)
    }
    if (answers.length + wanted.length + lacking.length + pulls.length > 0) session.differed = true
    if (answers.length === 0) this.#finish(neighbour, topic, session)
  }

  #finish(neighbour: Neighbour, topic: Topic, session: Session): void {
    const now = this.#components.clock.monotonic()
    if (!session.differed && session.whole) this.#state(neighbour, topic).equal = { stamp: neighbour.stamp, generation: topic.index.generation, atMs: now }
    if (!session.own) return
    this.#components.counters.session(session.differed ? 'differed' : 'equal')
    // More frames of the same round may follow; they are still answered, but the next comparison may begin.
    session.until = Math.min(session.until, now + 1_000)
  }

  #session(neighbour: Neighbour, topic: Topic, { nonce, round, ranges }: Digest): Session | undefined {
    const now = this.#components.clock.monotonic()
    const state = this.#state(neighbour, topic)
    if (round > 0) {
      const session = state.own?.nonce === nonce ? state.own : state.theirs?.nonce === nonce ? state.theirs : undefined
      return session !== undefined && now < session.until ? session : undefined
    }
    if (!state.begins.take()) return undefined
    const whole = isWhole(topic, ranges.at(-1)?.upper ?? START)
    state.theirs = { nonce, stamp: neighbour.stamp, until: now + SESSION_MS, work: 0, frames: 0, own: false, whole, differed: false }
    return state.theirs
  }

  #state(neighbour: Neighbour, topic: Topic): State {
    const topics = this.#states.get(neighbour) ?? new Map<Topic, State>()
    this.#states.set(neighbour, topics)
    const known = topics.get(topic)
    if (known !== undefined) return known
    const state: State = { own: undefined, theirs: undefined, begins: new TokenBucket(this.#components.clock, BEGIN_PER_SECOND, BEGIN_BURST), equal: undefined }
    topics.set(topic, state)
    return state
  }

  #round(): void {
    const { topics, neighbours, random, onRound, clock } = this.#components
    onRound()
    const upper: Bound = { timeMs: Math.max(0, Math.floor(clock.now()) - YOUNG_MS), prefix: new Uint8Array(0) }
    for (const topic of topics()) {
      const sharing = [...neighbours].filter((neighbour) => neighbour.sharing(topic) !== undefined)
      for (let left = fanOut(sharing.length); left > 0 && sharing.length > 0; left--) {
        const [chosen] = sharing.splice(Math.floor(random.unit() * sharing.length), 1)
        if (chosen !== undefined && !this.#reliesOn(chosen, topic)) this.begin(chosen, topic, upper)
      }
    }
  }

  #reliesOn(neighbour: Neighbour, topic: Topic): boolean {
    const equal = this.#states.get(neighbour)?.get(topic)?.equal
    return (
      equal !== undefined &&
      equal.stamp === neighbour.stamp &&
      equal.generation === topic.index.generation &&
      this.#components.clock.monotonic() - equal.atMs < RELY_MS
    )
  }
}

/** With how many of `count` neighbours a topic is compared in one round. */
export function fanOut(count: number): number {
  return count < 5 ? Math.min(count, 3) : Math.max(3, Math.min(10, Math.ceil(Math.log2(count) + 1)))
}

function isWhole({ index }: Topic, upper: Bound): boolean {
  return index.before(upper) === index.size
}

function floorOf(topic: Topic, clock: Clock): Bound {
  return { timeMs: topic.retention.cutoff(clock.now()), prefix: new Uint8Array(0) }
}
