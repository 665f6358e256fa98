/**
 * A mutation loop with a kept corpus. Each target starts from valid inputs (`seeds`) and what earlier runs found (`test/corpus/NAME`), mutates them, and must
 * answer every input with a value or a `KithError` whose code it names: anything else thrown, a hang, or memory beyond the bound is a failure.
 *
 * An input is interesting, and kept for this run as a base of further mutations, when its outcome (code and reason) was not seen before.
 * `KITH_FUZZ_KEEP=1` writes those to the corpus. `KITH_FUZZ_SEED` repeats a run, `KITH_FUZZ_FACTOR` makes it longer.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { KithError } from '../../src/core/errors.ts'

const CORPUS = join(import.meta.dirname, '..', 'corpus')
const SEED = Number(process.env.KITH_FUZZ_SEED ?? Date.now() % 1_000_000)
const FACTOR = Number(process.env.KITH_FUZZ_FACTOR ?? 1)
const INTERESTING = [0, 1, 0x0f, 0x10, 0x1f, 0x20, 0x7f, 0x80, 0xfe, 0xff]
const MAX_KEPT = 2_000

export interface FuzzTarget {
  readonly name: string
  /** Valid inputs. */
  readonly seeds: readonly Uint8Array[]
  /** Parses one input; throws `KithError` for what it refuses. May check invariants with assert. */
  run(input: Uint8Array): unknown
  /** Codes it may refuse with. */
  readonly codes: readonly string[]
  /** Mutated inputs per run. Default 20,000. */
  readonly iterations?: number
  /** Bytes the process may have grown by at the end. Default 192 MiB. */
  readonly memoryBytes?: number
}

/** A small fast generator, seeded: runs repeat. */
function generator(seed: number): (below: number) => number {
  let state = (seed ^ 0x9e37_79b9) >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}

export function mutate(input: Uint8Array, other: Uint8Array, pick: (below: number) => number): Uint8Array {
  let bytes = Uint8Array.from(input)
  for (let rounds = 1 + pick(4); rounds > 0; rounds--) {
    const at = pick(bytes.length + 1)
    const length = 1 + pick(16)
    switch (pick(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << pick(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = INTERESTING[pick(INTERESTING.length)] as number
        break
      case 2:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)])
        break
      case 3:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at, at + length), ...bytes.subarray(at)])
        break
      case 4:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...Array.from({ length }, () => pick(256)), ...bytes.subarray(at)])
        break
      case 5:
        bytes = bytes.slice(0, at)
        break
      case 6: {
        const cut = pick(other.length + 1)
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...other.subarray(cut)])
        break
      }
      default:
        for (let i = at; i < Math.min(at + length, bytes.length); i++) bytes[i] = 0xff
    }
  }
  return bytes
}

function corpus(name: string): Uint8Array[] {
  const folder = join(CORPUS, name)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .sort()
    .map((file) => Uint8Array.from(readFileSync(join(folder, file))))
}

/** What an input led to, as a short text; throws for an outcome that is not allowed. */
async function outcome(target: FuzzTarget, input: Uint8Array): Promise<string> {
  try {
    await target.run(input)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof KithError) || !target.codes.includes(error.code)) throw error
    return `${error.code} ${String(error.details.reason ?? error.message)}`
  }
}

export function fuzz(target: FuzzTarget): void {
  test(`${target.name}: every mutated input is answered with a value or one of its codes`, async () => {
    const pick = generator(SEED)
    const kept: Uint8Array[] = [...target.seeds, ...corpus(target.name)]
    const seen = new Set<string>()
    for (const input of kept) seen.add(await outcome(target, input))
    assert.ok(seen.has('accepted'), 'the seeds are valid inputs')
    const before = process.memoryUsage().rss
    for (let i = 0; i < (target.iterations ?? 20_000) * FACTOR; i++) {
      const input = mutate(kept[pick(kept.length)] as Uint8Array, kept[pick(kept.length)] as Uint8Array, pick)
      let found: string
      try {
        found = await outcome(target, input)
      } catch (error) {
        const saved = keep(target.name, input)
        throw new Error(`${target.name}: seed ${SEED}, iteration ${i}, input saved as ${saved}`, { cause: error })
      }
      if (seen.has(found) || kept.length >= MAX_KEPT) continue
      seen.add(found)
      kept.push(input)
      if (process.env.KITH_FUZZ_KEEP === '1') keep(target.name, input)
    }
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < (target.memoryBytes ?? 192 * 2 ** 20), `memory grew by ${grown} bytes`)
  })
}

function keep(name: string, input: Uint8Array): string {
  const folder = join(CORPUS, name)
  mkdirSync(folder, { recursive: true })
  const file = `${createHash('sha256').update(input).digest('hex').slice(0, 16)}.bin`
  writeFileSync(join(folder, file), input)
  return `test/corpus/${name}/${file}`
}
