import { randomFillSync } from 'node:crypto'

/** Randomness as everything above receives it: the operating system's in production, seeded in the simulator. */
export interface Random {
  /** Fills `target` and returns it. */
  fill<T extends Uint8Array>(target: T): T
  bytes(length: number): Uint8Array
  /** Uniform in [0, 1): for jitter and choice, never for keys. */
  unit(): number
}

export const systemRandom: Random = {
  fill: (target) => randomFillSync(target),
  bytes: (length) => randomFillSync(new Uint8Array(length)),
  unit: () => {
    const word = randomFillSync(new Uint32Array(1))
    return (word[0] as number) / 0x1_0000_0000
  },
}
