import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { sha256 } from '../../core/crypto/hash.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'

export const DAY_MS: number = 86_400_000
const ID_BYTES = 8

export function dayOf(now: number): number {
  return Math.floor(now / DAY_MS)
}

/** What a node calls itself for a day on networks not marked home (protocol.md, further rules): 16 hexadecimal digits. */
export function rotatingId(did: Did, day: number): string {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, day)
  return toHex(sha256(didPublicKey(did), bytes).subarray(0, ID_BYTES))
}

/** Recognises the rotating ids of known peers, today's and those of clocks that are up to a day off. */
export class Recogniser {
  readonly #clock: Clock
  readonly #known: () => Iterable<Did>
  #day = -1
  #ids: Map<string, Did> = new Map()
  #seen: Set<Did> = new Set()

  constructor(clock: Clock, known: () => Iterable<Did>) {
    this.#clock = clock
    this.#known = known
  }

  match(id: string): Did | undefined {
    const day = dayOf(this.#clock.now())
    if (day !== this.#day) {
      this.#day = day
      this.#ids = new Map()
      this.#seen = new Set()
    }
    for (const did of this.#known()) {
      if (this.#seen.has(did)) continue
      this.#seen.add(did)
      for (const near of [day - 1, day, day + 1]) if (near >= 0) this.#ids.set(rotatingId(did, near), did)
    }
    return this.#ids.get(id)
  }
}
