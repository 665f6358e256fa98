import { checkTopic } from './envelope.ts'

/** Topics whose last number is remembered each by itself. */
const MAX_TOPICS = 10_000

/**
 * Numbers of this machine's records: from 1 in each topic, in the epoch of this start. The epoch was counted durably before this is made, so no pair of epoch and
 * number comes twice, whatever was lost with the last run.
 */
export class RecordSequences {
  readonly epoch: number
  readonly #last: Map<string, number> = new Map()
  /** The highest number of any topic that is not remembered by itself any more. */
  #floor = 0

  constructor(epoch: number) {
    this.epoch = epoch
  }

  /** @throws TypeError for what cannot name a topic. */
  next(topic: string): number {
    const seq = (this.#last.get(checkTopic(topic)) ?? this.#floor) + 1
    this.#last.delete(topic)
    this.#last.set(topic, seq)
    if (this.#last.size > MAX_TOPICS) {
      for (const [oldest, last] of this.#last) {
        this.#floor = Math.max(this.#floor, last)
        this.#last.delete(oldest)
        break
      }
    }
    return seq
  }
}
