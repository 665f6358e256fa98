/**
 * # Filter of ids seen
 *
 * A Bloom filter over 32-byte SHA-256 ids in two generations: ids go into the young one; when that holds 80 % of its capacity it becomes the old one and the one
 * before is forgotten. The places of an id are the same on every machine and in every language (double hashing of the id itself):
 *
 * ```text
 * h1 = u64 little-endian of bytes 0..7       h2 = u64 little-endian of bytes 8..15, lowest bit set
 * place i = (h1 + i * h2) mod bits,  i = 0..6                    bit p is bit p mod 8 of byte p / 8
 * 10,000 ids at 1 %: 95,851 bits, 7 places
 * ```
 *
 * What it is for: an announced id that it does not know was certainly not seen lately, which saves looking through every topic. What it is not for: it never says that
 * an entry is known. A "perhaps" is always settled by the exact set of kept ids, and what was kept once and is gone is told by its own signed time and author (retention.ts),
 * so nothing is delivered twice because a filter forgot, and nothing is lost because it was wrong.
 */
export const FILTER_BITS = 95_851
export const FILTER_HASHES = 7
const ROTATE_AT = 8_000

export class SeenFilter {
  #young: Uint8Array = fresh()
  #old: Uint8Array = fresh()
  #count = 0
  /** How often a generation was forgotten. */
  rotations = 0

  add(id: Uint8Array): void {
    if (this.#count >= ROTATE_AT) {
      this.#old = this.#young
      this.#young = fresh()
      this.#count = 0
      this.rotations++
    }
    for (const place of placesOf(id)) this.#young[place >> 3] = (this.#young[place >> 3] as number) | (1 << (place & 7))
    this.#count++
  }

  /** False: certainly not among the last 8,000 added. */
  perhaps(id: Uint8Array): boolean {
    const places = placesOf(id)
    return hasAll(this.#young, places) || hasAll(this.#old, places)
  }
}

/** Where an id stands. */
export function placesOf(id: Uint8Array): number[] {
  const view = new DataView(id.buffer, id.byteOffset, id.byteLength)
  const step = remainder(view.getUint32(12, true), (view.getUint32(8, true) | 1) >>> 0)
  let at = remainder(view.getUint32(4, true), view.getUint32(0, true))
  const places: number[] = []
  for (let i = 0; i < FILTER_HASHES; i++) {
    places.push(at)
    at = (at + step) % FILTER_BITS
  }
  return places
}

/** Of a u64 in halves, by the number of bits. */
function remainder(high: number, low: number): number {
  return ((high % FILTER_BITS) * (0x1_0000_0000 % FILTER_BITS) + low) % FILTER_BITS
}

function fresh(): Uint8Array {
  return new Uint8Array(Math.ceil(FILTER_BITS / 8))
}

function hasAll(bits: Uint8Array, places: readonly number[]): boolean {
  return places.every((place) => ((bits[place >> 3] as number) & (1 << (place & 7))) !== 0)
}
