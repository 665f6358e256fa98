import { type Clock, sleep, type Timer } from '../core/clock.ts'
import { isKithError } from '../core/errors.ts'
import type { Gossip, GossipEntry } from '../gossip/types.ts'
import type { Background } from './background.ts'

/** Entries that wait to be looked at; what is more stays with gossip and is looked at the next time. */
const MAX_WAITING = 1_000
const AGAIN_MS = 3_600_000
const PAGE = 500
/** How often, and how long in all, one waits whose turn it is not. */
const BUSY_MS = 250
const BUSY_TRIES = 40

export interface TopicIntakeParts {
  readonly gossip: Pick<Gossip, 'listen' | 'entries'>
  readonly topic: string
  readonly clock: Clock
  readonly background: Background
  /** For the log, when `take` fails. */
  readonly failure: string
  /** Whether the entry is done with, could be taken at another time, or in a moment: those behind it wait then, so that a flood is worked off and hides nothing. */
  readonly take: (entry: GossipEntry) => Promise<'done' | 'later' | 'busy'>
}

/**
 * What comes on a topic, one entry after the other. What is kept already comes first, because a crash may have kept it from whoever takes it; what could not be
 * taken, or found no room to wait, is offered again each hour.
 */
export class TopicIntake {
  readonly #parts: TopicIntakeParts
  readonly #waiting: GossipEntry[] = []
  #running = false
  #later = false
  #stop: (() => void) | undefined
  #timer: Timer | undefined

  constructor(parts: TopicIntakeParts) {
    this.#parts = parts
  }

  start(): void {
    this.#stop = this.#parts.gossip.listen(this.#parts.topic, (entry) => this.#push(entry), { replay: true })
    this.#arm()
  }

  close(): void {
    this.#stop?.()
    this.#timer?.cancel()
  }

  #push(entry: GossipEntry): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#later = true
      return
    }
    this.#waiting.push(entry)
    if (this.#running) return
    this.#running = true
    const { background, failure } = this.#parts
    background.run(failure, () => this.#drain())
  }

  async #drain(): Promise<void> {
    try {
      for (let entry = this.#waiting.shift(); entry !== undefined; entry = this.#waiting.shift()) await this.#take(entry)
    } finally {
      this.#running = false
    }
  }

  async #take(entry: GossipEntry): Promise<void> {
    const { background, clock, failure, take } = this.#parts
    if (background.signal.aborted) return
    try {
      let outcome = await take(entry)
      for (let tries = 0; outcome === 'busy' && tries < BUSY_TRIES; tries++) {
        await sleep(clock, BUSY_MS, background.signal)
        outcome = await take(entry)
      }
      if (outcome !== 'done') this.#later = true
    } catch (error) {
      // Those behind it are not held up.
      this.#later = true
      background.failed(failure, error)
    }
  }

  #arm(): void {
    const { clock, background, failure } = this.#parts
    this.#timer = clock.after(AGAIN_MS, () => {
      this.#arm()
      if (!this.#later) return
      this.#later = false
      background.run(failure, () => this.#again())
    })
  }

  async #again(): Promise<void> {
    let after: Uint8Array | undefined
    for (;;) {
      const page = await this.#page(after)
      if (page === undefined) return
      for (const entry of page) await this.#take(entry)
      after = page.at(-1)?.id
      if (page.length < PAGE || after === undefined) return
    }
  }

  /** Undefined when the place to go on from is gone: the next round begins anew. */
  async #page(after: Uint8Array | undefined): Promise<readonly GossipEntry[] | undefined> {
    const { gossip, topic } = this.#parts
    try {
      return await gossip.entries(topic, { limit: PAGE, ...(after === undefined ? {} : { after }) })
    } catch (error) {
      this.#later = true
      if (isKithError(error, 'NOT_FOUND')) return undefined
      throw error
    }
  }
}
