import { concat, equalSecret } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { hmacSha256 } from '../core/crypto/hash.ts'
import type { Random } from '../core/random.ts'
import type { Neighbour } from './neighbour.ts'
import type { Topic } from './topic.ts'
import type { Item } from './topic-index.ts'
import { type Bound, CURSOR_BYTES, ID_BYTES } from './wire.ts'

/** A cursor may be used for five minutes. */
export const CURSOR_MS = 300_000
const MAC_BYTES = 16

/**
 * Where a pull goes on. The answering side keeps nothing: a cursor is its own note, which only it can read and which holds for one topic and one machine.
 *
 * ```text
 * u64 made_ms (monotonic) || u64 time_ms || bytes32 id || mac16     the last entry that was given
 * mac = first 16 bytes of HMAC-SHA256(key of this process, everything before || topic 32 || link key 32)
 * ```
 */
export class Cursors {
  readonly #clock: Clock
  readonly #key: Uint8Array

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    this.#key = random.bytes(32)
  }

  make(last: Pick<Item, 'timeMs' | 'id'>, topic: Topic, neighbour: Neighbour): Uint8Array {
    const cursor = Buffer.alloc(CURSOR_BYTES)
    cursor.writeBigUInt64BE(BigInt(Math.floor(this.#clock.monotonic())), 0)
    cursor.writeBigUInt64BE(BigInt(last.timeMs), 8)
    cursor.set(last.id, 16)
    cursor.set(this.#mac(cursor.subarray(0, CURSOR_BYTES - MAC_BYTES), topic, neighbour), CURSOR_BYTES - MAC_BYTES)
    return cursor
  }

  /** The first place behind the cursor; undefined for one that is not ours, not for this topic and machine, or too old. */
  read(cursor: Uint8Array, topic: Topic, neighbour: Neighbour): Bound | undefined {
    const said = cursor.subarray(0, CURSOR_BYTES - MAC_BYTES)
    if (cursor.length !== CURSOR_BYTES || !equalSecret(cursor.subarray(said.length), this.#mac(said, topic, neighbour))) return undefined
    const view = Buffer.from(said.buffer, said.byteOffset, said.byteLength)
    if (Number(view.readBigUInt64BE(0)) + CURSOR_MS < this.#clock.monotonic()) return undefined
    return following(Number(view.readBigUInt64BE(8)), said.slice(16, 16 + ID_BYTES))
  }

  #mac(said: Uint8Array, topic: Topic, neighbour: Neighbour): Uint8Array {
    return hmacSha256(this.#key, concat(said, topic.hash, neighbour.device)).subarray(0, MAC_BYTES)
  }
}

/** The bound right behind an entry. */
function following(timeMs: number, id: Uint8Array): Bound {
  const prefix = Uint8Array.from(id)
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] !== 0xff) {
      prefix[i] = (prefix[i] as number) + 1
      return { timeMs, prefix: prefix.slice(0, i + 1) }
    }
  }
  return { timeMs: timeMs + 1, prefix: new Uint8Array(0) }
}
