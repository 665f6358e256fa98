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
  readonly #running: Map<Neighbour, number> = new Map()
  readonly #unknown: Lru<string, number> = new Lru(MAX_UNKNOWN)

  constructor(messages: Pick<Messages, 'fetchPapers'>, clock: Clock) {
    this.#messages = messages
    this.#clock = clock
  }

  /** Whether newer papers came. */
  fetch(neighbour: Neighbour, did: Did, device: PublicKey): Promise<boolean> {
    const key = `${neighbour.key} ${did} ${Buffer.from(device).toString('latin1')}`
    const asked = this.#asked.get(key)
    if (asked !== undefined) return asked
    const running = this.#running.get(neighbour) ?? 0
    if (running >= MAX_ASKED || (this.#unknown.get(key) ?? 0) > this.#clock.monotonic()) return Promise.resolve(false)
    this.#running.set(neighbour, running + 1)
    const answer = this.#messages
      .fetchPapers(neighbour.peer, did, device)
      .then(
        () => true,
        () => {
          this.#unknown.set(key, this.#clock.monotonic() + UNKNOWN_MS)
          return false
        },
      )
      .finally(() => {
        this.#asked.delete(key)
        const left = (this.#running.get(neighbour) ?? 1) - 1
        if (left === 0) this.#running.delete(neighbour)
        else this.#running.set(neighbour, left)
      })
    this.#asked.set(key, answer)
    return answer
  }
}
