import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { type Codec, decode, encode } from '../src/core/codec.ts'
import { type Random, seededRandom } from '../src/core/random.ts'

/**
 * # Conformance digests
 *
 * Every structure that crosses the wire or is signed is encoded over seeded inputs; the digest stands in `conformance.json`.
 * A change of layout shows as a changed digest and must be meant: `KITH_CONFORMANCE=update npm test` writes the new one.
 *
 * ```ts
 * conformanceOfCodec('icn/binding/v1 body', bodyCodec, (g) => ({ serial: g.integer(1000), name: g.bytesUpTo(64), mldsa: g.option(() => g.bytes(1952)) }))
 * conformance('icn/hello/v1 hash', (g) => helloHash(g.bytes(100), g.bytes(200)))
 * ```
 * digest = SHA-256 over `rounds` times: u32 length || bytes. The inputs depend on the name, the round and nothing else.
 */
const FILE = new URL('./conformance.json', import.meta.url)
const LOCK = new URL('./.conformance.lock/', import.meta.url)
const UPDATE = process.env.KITH_CONFORMANCE === 'update'

/** Registers a test that `make`, called with seeded inputs, still gives the bytes it gave when the digest was recorded. */
export function conformance(name: string, make: (generate: Generator) => Uint8Array, rounds = 64): void {
  test(`conformance, ${name}, digest is the recorded one`, () => {
    const digest = conformanceDigest(name, make, rounds)
    if (UPDATE) record(name, digest)
    const expected = load()[name]
    assert.ok(expected !== undefined, `no digest recorded for "${name}": run once with KITH_CONFORMANCE=update`)
    assert.equal(digest, expected, `the bytes of "${name}" have changed; if that is meant, run with KITH_CONFORMANCE=update`)
  })
}

/** The same for a codec; also checks that every encoding decodes and encodes to itself again. */
export function conformanceOfCodec<T>(name: string, codec: Codec<T>, make: (generate: Generator) => T, rounds = 64): void {
  conformance(
    name,
    (generate) => {
      const bytes = encode(codec, make(generate))
      assert.deepEqual(encode(codec, decode(codec, bytes)), bytes)
      return bytes
    },
    rounds,
  )
}

export function conformanceDigest(name: string, make: (generate: Generator) => Uint8Array, rounds: number): string {
  const state = createHash('sha256')
  const length = Buffer.alloc(4)
  for (let round = 0; round < rounds; round++) {
    const bytes = make(new Generator(seededRandom(`conformance ${name} ${round}`)))
    length.writeUInt32BE(bytes.length)
    state.update(length).update(bytes)
  }
  return state.digest('hex')
}

/** Seeded values; a new kind of value is added at the end so that recorded digests stay. */
export class Generator {
  readonly random: Random

  constructor(random: Random) {
    this.random = random
  }

  /** 0 <= n < below, which is at most 2^53. */
  integer(below: number): number {
    return Math.min(below - 1, Math.floor((this.random.unit() + this.random.unit() / 0x1_0000_0000) * below))
  }
  u64(): bigint {
    return Buffer.from(this.bytes(8)).readBigUInt64BE()
  }
  bool(): boolean {
    return this.random.unit() < 0.5
  }
  bytes(length: number): Uint8Array {
    return this.random.bytes(length)
  }
  /** 0 to `limit` bytes, the two ends included and favoured. */
  bytesUpTo(limit: number): Uint8Array {
    const choice = this.random.unit()
    return this.bytes(choice < 0.1 ? 0 : choice < 0.2 ? limit : this.integer(limit + 1))
  }
  /** Printable ASCII of 0 to `limit` characters. */
  text(limit: number): string {
    return Array.from({ length: this.integer(limit + 1) }, () => String.fromCharCode(0x20 + this.integer(0x5f))).join('')
  }
  pick<T>(choices: readonly T[]): T {
    return choices[this.integer(choices.length)] as T
  }
  option<T>(make: () => T): T | undefined {
    return this.bool() ? make() : undefined
  }
  list<T>(limit: number, make: () => T): T[] {
    return Array.from({ length: this.integer(limit + 1) }, make)
  }
}

export function load(): Record<string, string> {
  return JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, string>
}

/** Test files run in processes of their own: one writes at a time. */
function record(name: string, digest: string): void {
  withLock(() => {
    const all = { ...load(), [name]: digest }
    const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)))
    const temporary = new URL('./conformance.json.new', import.meta.url)
    writeFileSync(temporary, `${JSON.stringify(sorted, null, 2)}\n`)
    renameSync(temporary, FILE)
  })
}

function withLock(run: () => void): void {
  for (let attempt = 0; ; attempt++) {
    try {
      mkdirSync(LOCK)
      break
    } catch (error) {
      if (attempt === 1000) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
  try {
    run()
  } finally {
    rmdirSync(LOCK)
  }
}
