import { createHash, hash, randomFillSync } from 'node:crypto'

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

/**
 * The same bytes for the same seed, on every machine: for the simulator, conformance digests and tests. Not secret, never for keys of a real node.
 * Block i is SHA-256(SHA-256(seed) || u64 i); calls of any size read on in one stream of bytes.
 */
export function seededRandom(seed: string | number | Uint8Array): Random {
  const key = hash('sha256', seed instanceof Uint8Array ? seed : String(seed), 'buffer')
  const counter = Buffer.alloc(8)
  let index = 0n
  let block: Buffer = Buffer.alloc(0)
  const fill = <T extends Uint8Array>(target: T): T => {
    for (let at = 0; at < target.length; ) {
      if (block.length === 0) {
        counter.writeBigUInt64BE(index++)
        block = createHash('sha256').update(key).update(counter).digest()
      }
      const length = Math.min(block.length, target.length - at)
      target.set(block.subarray(0, length), at)
      block = block.subarray(length)
      at += length
    }
    return target
  }
  const word = Buffer.alloc(4)
  return { fill, bytes: (length) => fill(new Uint8Array(length)), unit: () => fill(word).readUInt32BE() / 0x1_0000_0000 }
}
