import type { BenchSample } from '../harness.ts'
import { stopwatch } from './stopwatch.ts'

/** Rates of two kinds of work that take turns, each a round of `size` pieces that says how many seconds it took: what else runs on the machine slows both. */
export async function byTurns(rounds: number, size: number, ours: () => number | Promise<number>, peer: () => number | Promise<number>): Promise<BenchSample> {
  let mine = 0
  let theirs = 0
  for (let round = -1; round < rounds; round++) {
    const a = await ours()
    const b = await peer()
    // In the first one the code is compiled.
    if (round < 0) continue
    mine += a
    theirs += b
  }
  return { ours: (rounds * size) / mine, peer: (rounds * size) / theirs }
}

/** Seconds that some work takes. */
export function timed(work: () => void): number {
  const elapsed = stopwatch()
  work()
  return elapsed()
}

export async function timedAsync(work: () => Promise<unknown>): Promise<number> {
  const elapsed = stopwatch()
  await work()
  return elapsed()
}
