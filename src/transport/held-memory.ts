import type { LinkMemory } from './types.ts'

/** The budget is asked in steps of this: a link in order consumes what arrives in the same turn and never asks. */
const STEP_BYTES = 16 * 1024

/**
 * What a connection holds of its peer's bytes, against a budget that others share. Counted as bytes arrive and are consumed, charged when a read has been
 * dealt with; when the budget refuses, `shed` drops something.
 */
export class HeldMemory {
  #held = 0
  #charged = 0
  #over = false
  readonly #memory: LinkMemory
  /** Makes the connection hold less; false when it cannot. */
  readonly #shed: () => boolean

  constructor(memory: LinkMemory, shed: () => boolean) {
    this.#memory = memory
    this.#shed = shed
  }

  add(bytes: number): void {
    this.#held += bytes
  }

  remove(bytes: number): void {
    if (this.#over) return
    this.#held -= bytes
    const spare = this.#charged - this.#held
    if (spare < 2 * STEP_BYTES && (this.#held > 0 || spare === 0)) return
    const keep = inSteps(this.#held)
    this.#memory.free(this.#charged - keep)
    this.#charged = keep
  }

  /** Pays for what has come to be held. `used`: payload has moved since the last call. */
  settle(used: boolean): void {
    if (used) this.#memory.touch()
    while (this.#held > this.#charged) {
      const wanted = inSteps(this.#held) - this.#charged
      if (this.#memory.reserve(wanted)) {
        this.#charged += wanted
        return
      }
      if (!this.#shed()) return
    }
  }

  /** The connection has ended; what its last readers still hold is theirs. */
  end(): void {
    this.#over = true
    const charged = this.#charged
    this.#charged = 0
    if (charged > 0) this.#memory.free(charged)
  }
}

function inSteps(bytes: number): number {
  return Math.ceil(bytes / STEP_BYTES) * STEP_BYTES
}
