/** The generators that upstream's tests draw from: PCG32-seeded ChaCha (rand_chacha 0.9 and later). */
export class ChaChaRng {
  readonly #rounds: number
  readonly #key: Uint32Array
  #counter = 0
  #block = new Uint32Array(16)
  #at = 16

  constructor(seed: bigint, rounds: 8 | 12 | 20) {
    this.#rounds = rounds
    this.#key = new Uint32Array(8)
    let state = seed
    for (let i = 0; i < 8; i++) {
      state = BigInt.asUintN(64, state * 6364136223846793005n + 11634580027462260723n)
      const x = Number(BigInt.asUintN(32, ((state >> 18n) ^ state) >> 27n))
      const turn = Number(state >> 59n)
      this.#key[i] = ((x >>> turn) | (x << (32 - turn))) >>> 0
    }
  }

  u32(): number {
    if (this.#at === 16) this.#next()
    return this.#block[this.#at++] as number
  }

  /** Whole words; the unused end of the last one is dropped. */
  bytes(length: number): Buffer {
    const out = Buffer.alloc(Math.ceil(length / 4) * 4)
    for (let i = 0; i < out.length; i += 4) out.writeUInt32LE(this.u32(), i)
    return out.subarray(0, length)
  }

  #next(): void {
    const input = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, ...this.#key, this.#counter++, 0, 0, 0)
    const x = Uint32Array.from(input)
    const quarter = (a: number, b: number, c: number, d: number): void => {
      x[a] = (x[a] as number) + (x[b] as number)
      x[d] = turn((x[d] as number) ^ (x[a] as number), 16)
      x[c] = (x[c] as number) + (x[d] as number)
      x[b] = turn((x[b] as number) ^ (x[c] as number), 12)
      x[a] = (x[a] as number) + (x[b] as number)
      x[d] = turn((x[d] as number) ^ (x[a] as number), 8)
      x[c] = (x[c] as number) + (x[d] as number)
      x[b] = turn((x[b] as number) ^ (x[c] as number), 7)
    }
    for (let round = 0; round < this.#rounds; round += 2) {
      for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i)
      for (let i = 0; i < 4; i++) quarter(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4))
    }
    for (let i = 0; i < 16; i++) this.#block[i] = (x[i] as number) + (input[i] as number)
    this.#at = 0
  }
}

function turn(value: number, bits: number): number {
  return ((value << bits) | (value >>> (32 - bits))) >>> 0
}

/** Random bytes that are known beforehand, in order; running out is a failure of the test. */
export function knownBytes(...pieces: Uint8Array[]): { fill<T extends Uint8Array>(target: T): T; bytes(length: number): Uint8Array; unit(): number } {
  const take = (length: number): Uint8Array => {
    const piece = pieces.shift()
    if (piece?.length !== length) throw new Error('no such random bytes left')
    return piece
  }
  return {
    fill(target) {
      target.set(take(target.length))
      return target
    },
    bytes: take,
    unit: () => 0.5,
  }
}
