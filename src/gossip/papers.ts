import type { PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { Lru } from '../core/lru.ts'
import type { Did } from '../identity/did.ts'
import type { Messages } from '../mesh/messages/types.ts'
import type { Neighbour } from './neighbour.ts'

/** Questions to one neighbour at once. */
const MAX_ASKED = 4
/** Machines whose papers were asked for and did not come. */
const MAX_UNKNOWN = 4_096
const UNKNOWN_MS = 10_000

/** Papers of authors that are not known here, from the neighbour that brought their entries: each machine asked for once at a time, few at once. */
export class Papers {
  readonly #messages: Pick<Messages, 'fetchPapers'>
  readonly #clock: Clock
  readonly #asked: Map<string, Promise<boolean>> = new Map()
  readonly #lanes: Map<Neighbour, Lane> = new Map()
  readonly #unknown: Lru<string, number> = new Lru(MAX_UNKNOWN)

  constructor(messages: Pick<Messages, 'fetchPapers'>, clock: Clock) {
    this.#messages = messages
    this.#clock = clock
  }

  /** Whether newer papers came. What is beyond the questions at once waits its turn: as many entries as a neighbour's stream may have under way. */
  fetch(neighbour: Neighbour, did: Did, device: PublicKey): Promise<boolean> {
    const key = `${neighbour.key} ${did} ${Buffer.from(device).toString('latin1')}`
    const asked = this.#asked.get(key)
    if (asked !== undefined) return asked
    if ((this.#unknown.get(key) ?? 0) > this.#clock.monotonic()) return Promise.resolve(false)
    const answer = this.#ask(neighbour, did, device, key).finally(() => this.#asked.delete(key))
    this.#asked.set(key, answer)
    return answer
  }

  async #ask(neighbour: Neighbour, did: Did, device: PublicKey, key: string): Promise<boolean> {
    const lane = this.#lanes.get(neighbour) ?? { running: 0, waiting: [] }
    this.#lanes.set(neighbour, lane)
    if (lane.running < MAX_ASKED) lane.running++
    // Whoever ends hands its place on.
    else await new Promise<void>((resolve) => lane.waiting.push(resolve))
    try {
      if (neighbour.gone) return false
      await this.#messages.fetchPapers(neighbour.peer, did, device)
      return true
    } catch {
      this.#unknown.set(key, this.#clock.monotonic() + UNKNOWN_MS)
      return false
    } finally {
      const next = lane.waiting.shift()
      if (next !== undefined) next()
      else if (--lane.running === 0) this.#lanes.delete(neighbour)
    }
  }
}

/** The questions to one neighbour. */
interface Lane {
  running: number
  readonly waiting: (() => void)[]
}
