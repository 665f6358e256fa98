import type { Background } from './background.ts'

/** Work that came by gossip, one piece after the other. What is more than `limit` waits is left out: it is still kept by gossip and looked at again. */
export class Serial {
  readonly #background: Background
  readonly #what: string
  readonly #limit: number
  readonly #waiting: (() => Promise<unknown>)[] = []
  #running = false
  /** Pieces left out since the last look. */
  #missed = 0

  constructor(background: Background, what: string, limit = 1_000) {
    this.#background = background
    this.#what = what
    this.#limit = limit
  }

  /** Whether anything was left out since this was asked the last time. */
  takeMissed(): boolean {
    const missed = this.#missed > 0
    this.#missed = 0
    return missed
  }

  push(work: () => Promise<unknown>): void {
    if (this.#waiting.length >= this.#limit) {
      this.#missed++
      return
    }
    this.#waiting.push(work)
    if (this.#running) return
    this.#running = true
    this.#background.run(this.#what, () => this.#drain())
  }

  async #drain(): Promise<void> {
    try {
      for (let work = this.#waiting.shift(); work !== undefined; work = this.#waiting.shift()) {
        if (this.#background.signal.aborted) return
        await work()
      }
    } finally {
      this.#running = false
    }
  }
}
