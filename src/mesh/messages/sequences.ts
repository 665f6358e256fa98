import type { Random } from '../../core/random.ts'
import { checkTopic } from './envelope.ts'

/** Topics whose last number is remembered each by itself. */
const MAX_TOPICS = 10_000

/**
 * Numbers of this machine's records: one higher with each record of a topic, in the epoch of this start, which was counted durably before this is made. A home that
 * was put back from an old copy counts an epoch for the second time; so that its owner does not seem to have signed two things under one number, each run begins at
 * a random one.
 */
export class RecordSequences {
  readonly epoch: number
  readonly #last: Map<string, number> = new Map()
  /** The highest number of any topic that is not remembered by itself any more. */
  #floor: number
  #newest: string | undefined

  constructor(epoch: number, random: Random) {
    this.epoch = epoch
    // Anywhere below 2^48: 24 bits at a time, since a draw has 32.
    this.#floor = Math.floor(random.unit() * 2 ** 24) * 2 ** 24 + Math.floor(random.unit() * 2 ** 24)
  }

  /** @throws TypeError for what cannot name a topic. */
  next(topic: string): number {
    const seq = (this.#last.get(checkTopic(topic)) ?? this.#floor) + 1
    // The newest one stays where it is.
    if (topic !== this.#newest) this.#last.delete(topic)
    this.#last.set(topic, seq)
    this.#newest = topic
    if (this.#last.size > MAX_TOPICS) {
      for (const [oldest, last] of this.#last) {
        // Anywhere below 2^48: 24 bits at a time, since a draw has 32.
        this.#floor = Math.max(this.#floor, last)
        this.#last.delete(oldest)
        break
      }
    }
    return seq
  }
}
