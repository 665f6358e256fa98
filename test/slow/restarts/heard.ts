import type { Random } from '../../../src/core/random.ts'

/** Everything that was heard on the way, for whoever repeats it: the latest, and some of long ago. */
export class Heard {
  readonly #recent: Uint8Array[] = []
  readonly #old: Uint8Array[] = []
  readonly #random: Random
  #count = 0

  constructor(random: Random) {
    this.#random = random
  }

  add(bytes: Uint8Array): void {
    this.#count++
    const slot = this.#count % 4_096
    const before = this.#recent[slot]
    this.#recent[slot] = bytes
    if (before === undefined || this.#random.unit() > 0.05) return
    if (this.#old.length < 8_192) this.#old.push(before)
    else this.#old[Math.floor(this.#random.unit() * this.#old.length)] = before
  }

  any(): Uint8Array | undefined {
    const from = this.#random.unit() < 0.2 && this.#old.length > 0 ? this.#old : this.#recent
    return from[Math.floor(this.#random.unit() * from.length)]
  }
}

export function payloadOf(number: number): Uint8Array {
  const bytes = new Uint8Array(64)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

export function numberOf(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0)
}
