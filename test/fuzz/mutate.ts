/**
 * A mutation loop with a kept corpus. Each target starts from valid inputs (`seeds`) and what earlier runs found (`test/corpus/NAME`), mutates them, and must
 * answer every input with a value or a `KithError` whose code it names: anything else thrown, a hang, or memory beyond the bound is a failure.
 *
 * An input is interesting, and kept for this run as a base of further mutations, when its outcome (code and reason, or what `run` calls it) was not seen before.
 * fast-check feeds every target too, and shrinks what it finds.
 *
 * `KITH_FUZZ_KEEP=1` writes interesting inputs to the corpus. `KITH_FUZZ_SEED` repeats a run, `KITH_FUZZ_FACTOR` makes it longer.
 * `KITH_FUZZ_VERBOSE=1` tells the outcomes of each target and how often each came.
 * `npm test` replays the corpus once (`replay`).
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { KithError } from '../../src/core/errors.ts'
import { guardedSecrets } from '../../src/core/guarded-memory.ts'

export const CORPUS: string = join(import.meta.dirname, '..', 'corpus')
const SEED = Number(process.env.KITH_FUZZ_SEED ?? Date.now() % 1_000_000)
const FACTOR = Number(process.env.KITH_FUZZ_FACTOR ?? 1)
const KEEP = process.env.KITH_FUZZ_KEEP === '1'
const VERBOSE = process.env.KITH_FUZZ_VERBOSE === '1'
const INTERESTING = [0, 1, 0x0f, 0x10, 0x1f, 0x20, 0x7f, 0x80, 0xfe, 0xff]
/** Bases of further mutations in one run. */
const MAX_BASES = 2_000
/** The corpus stays small enough to read: files of one target, and bytes of one file. */
const MAX_FILES = 5
const MAX_FILE_BYTES = 2_048
/** One input that takes this long hangs. */
const HANG_MS = 20_000
const DEFAULT_SECONDS = 5
/** Secrets that a target may make and keep on its own account. */
const MAX_SECRETS = 8

export interface FuzzTarget {
  readonly name: string
  /** Valid inputs. */
  readonly seeds: readonly Uint8Array[]
  /** Handles one input; throws `KithError` for what it refuses. May check invariants with assert. A returned text names the outcome. */
  run(input: Uint8Array): unknown
  /** Codes it may refuse with. */
  readonly codes: readonly string[]
  /** What tells refusals apart. Default: the detail `reason` or `check`, else the sentence. */
  reason?(error: KithError): string
  /** Pieces worth inserting: keywords, tags. */
  readonly tokens?: readonly Uint8Array[]
  /** What fast-check draws inputs from. Default: bytes. */
  readonly arbitrary?: fc.Arbitrary<Uint8Array>
  /** Mutated inputs per run at most. Default 20,000. */
  readonly iterations?: number
  /** The loop ends after this long, whatever its iterations. Default 5. */
  readonly seconds?: number
  /** Bytes the process may have grown by at the end. Default 192 MiB. */
  readonly memoryBytes?: number
  /** Longest input made. Default 16 KiB. */
  readonly maxBytes?: number
  /** What the target needs around its runs. */
  open?(): Promise<void>
  close?(): Promise<void>
}

export type Pick = (below: number) => number

/** A small fast generator, seeded: runs repeat. */
export function generator(seed: number): Pick {
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

function replaced(bytes: Buffer, at: number, gone: number, ...pieces: readonly Uint8Array[]): Buffer {
  return Buffer.concat([bytes.subarray(0, at), ...pieces, bytes.subarray(Math.min(bytes.length, at + gone))])
}

/** One to four small changes. */
export function mutate(input: Uint8Array, other: Uint8Array, pick: Pick, tokens: readonly Uint8Array[] = []): Buffer {
  let bytes: Buffer = Buffer.from(input)
  for (let rounds = 1 + pick(4); rounds > 0; rounds--) {
    const at = pick(bytes.length + 1)
    const length = 1 + pick(16)
    switch (pick(tokens.length === 0 ? 10 : 12)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << pick(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = INTERESTING[pick(INTERESTING.length)] as number
        break
      case 2:
        bytes = replaced(bytes, at, length)
        break
      case 3:
        bytes = replaced(bytes, at, 0, bytes.subarray(at, at + length))
        break
      case 4:
        bytes = replaced(
          bytes,
          at,
          0,
          Uint8Array.from({ length }, () => pick(256)),
        )
        break
      case 5:
        bytes = bytes.subarray(0, at)
        break
      case 6:
        bytes = Buffer.concat([bytes.subarray(0, at), other.subarray(pick(other.length + 1))])
        break
      case 7:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) + (pick(2) === 0 ? 1 : 255)
        break
      case 8: {
        const from = pick(other.length + 1)
        bytes = replaced(bytes, at, length, other.subarray(from, from + length))
        break
      }
      case 9:
        bytes.fill(0xff, at, Math.min(bytes.length, at + length))
        break
      case 10:
        bytes = replaced(bytes, at, 0, tokens[pick(tokens.length)] as Uint8Array)
        break
      default: {
        const token = tokens[pick(tokens.length)] as Uint8Array
        bytes = replaced(bytes, at, token.length, token)
      }
    }
  }
  return bytes
}

function files(name: string): string[] {
  const folder = join(CORPUS, name)
  return existsSync(folder) ? readdirSync(folder).sort() : []
}

function corpus(name: string): Uint8Array[] {
  return files(name).map((file) => Uint8Array.from(readFileSync(join(CORPUS, name, file))))
}

/** What an input led to, as a short text; throws for an outcome that is not allowed. */
async function outcome(target: FuzzTarget, input: Uint8Array): Promise<string> {
  try {
    const running = target.run(Uint8Array.from(input))
    const result = running instanceof Promise ? await bounded(running) : running
    return typeof result === 'string' ? `accepted ${result}` : 'accepted'
  } catch (error) {
    if (!(error instanceof KithError) || !target.codes.includes(error.code)) throw error
    const reason = target.reason?.(error) ?? String(error.details.reason ?? error.details.check ?? error.message)
    // Numbers in a sentence make no outcome of their own.
    return `${error.code} ${reason.replaceAll(/\d{2,}/g, '#')}`
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

async function bounded(running: Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${HANG_MS} ms`)), HANG_MS)
  })
  try {
    return await Promise.race([running, hang])
  } finally {
    clearTimeout(timer)
  }
}

/** Runs `inside` between the target's `open` and `close`; an error thrown outside of any call is blamed on the input at work. */
async function opened(target: FuzzTarget, inside: (at: (input: Uint8Array) => void) => Promise<void>): Promise<void> {
  let current: Uint8Array | undefined
  const blame = (): void => {
    if (current !== undefined) process.stderr.write(`uncaught while at ${keep(target.name, current)}\n`)
  }
  process.on('uncaughtExceptionMonitor', blame)
  try {
    await target.open?.()
    await inside((input) => {
      current = input
    })
  } finally {
    process.off('uncaughtExceptionMonitor', blame)
    await target.close?.()
  }
}

export function fuzz(target: FuzzTarget): void {
  test(`${target.name}: every mutated input is answered with a value or one of its codes`, async () => {
    await opened(target, (at) => loop(target, at))
  })
  test(`${target.name}: every drawn input is answered with a value or one of its codes`, async () => {
    const property = fc.asyncProperty(target.arbitrary ?? fc.uint8Array({ maxLength: 600 }), async (input) => {
      await outcome(target, input)
    })
    await opened(target, () => fc.assert(property, { seed: SEED, includeErrorInReport: true, numRuns: 300 * FACTOR, interruptAfterTimeLimit: 2_000 * FACTOR }))
  })
}

async function loop(target: FuzzTarget, at: (input: Uint8Array) => void): Promise<void> {
  const pick = generator(SEED)
  const { iterations = 20_000, seconds = DEFAULT_SECONDS, maxBytes = 16_384 } = target
  const bases: Uint8Array[] = [...target.seeds, ...corpus(target.name)]
  const seen = new Map<string, number>()
  for (const [index, input] of bases.entries()) {
    at(input)
    const found = await outcome(target, input)
    if (index < target.seeds.length) assert.ok(found.startsWith('accepted'), `seed ${index} is a valid input, but: ${found}`)
    seen.set(found, 1)
  }
  const before = process.memoryUsage().rss
  const secrets = guardedSecrets()
  const end = performance.now() + seconds * 1_000 * FACTOR
  for (let i = 0; i < iterations * FACTOR && performance.now() < end; i++) {
    const input = mutate(bases[pick(bases.length)] as Uint8Array, bases[pick(bases.length)] as Uint8Array, pick, target.tokens).subarray(0, maxBytes)
    at(input)
    let found: string
    try {
      found = await outcome(target, input)
    } catch (error) {
      throw new Error(`${target.name}: seed ${SEED}, iteration ${i}, input saved as ${keep(target.name, input)}\n${stackOf(error)}`)
    }
    const times = seen.get(found) ?? 0
    seen.set(found, times + 1)
    if (times > 0 || bases.length >= MAX_BASES) continue
    bases.push(input)
    if (KEEP && input.length <= MAX_FILE_BYTES && files(target.name).length < MAX_FILES) keep(target.name, input)
  }
  if (VERBOSE) tell(target.name, seen)
  assert.ok(guardedSecrets() - secrets <= MAX_SECRETS, `${guardedSecrets() - secrets} secrets were left behind`)
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < (target.memoryBytes ?? 192 * 2 ** 20), `memory grew by ${grown} bytes`)
}

function tell(name: string, seen: ReadonlyMap<string, number>): void {
  const common = [...seen].sort(([, a], [, b]) => b - a).slice(0, 30)
  process.stderr.write(`${name}: ${seen.size} outcomes\n${common.map(([found, times]) => `${String(times).padStart(8)}  ${found}\n`).join('')}`)
}

/** Every seed and every kept input, once. */
export function replay(target: FuzzTarget): void {
  test(`${target.name}: every kept input is answered with a value or one of its codes`, async () => {
    await opened(target, async (at) => {
      for (const input of target.seeds) {
        at(input)
        assert.ok((await outcome(target, input)).startsWith('accepted'), 'a seed is a valid input')
      }
      for (const file of files(target.name)) {
        const input = readFileSync(join(CORPUS, target.name, file))
        try {
          await outcome(target, input)
        } catch (error) {
          throw new Error(`test/corpus/${target.name}/${file}\n${stackOf(error)}`)
        }
      }
    })
  })
}

function keep(name: string, input: Uint8Array): string {
  const folder = join(CORPUS, name)
  mkdirSync(folder, { recursive: true })
  const file = `${createHash('sha256').update(input).digest('hex').slice(0, 16)}.bin`
  writeFileSync(join(folder, file), input)
  return `test/corpus/${name}/${file}`
}
