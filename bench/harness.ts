/**
 * # Bench harness
 *
 * A row compares kith with the program a user would pick instead, both measured in the same run on the same machine, interleaved, and prints the ratio.
 * A file `bench/NAME.ts` exports `rows: readonly BenchRow[]`; `npm run bench [-- NAME ...] [--json] [--quick] [--cpu]` runs them all or the named files. `--cpu` counts
 * rates per second of processor time of both processes, which holds still on a busy machine.
 */
export interface BenchRow {
  /** What is measured, as in `docs/benchmarks.md`. */
  readonly name: string
  readonly unit: string
  /** The program compared with, and how it was set; empty where there is none, and then the goal is about the value itself. */
  readonly peer: string
  readonly better: 'higher' | 'lower'
  /** The ratio ours / peer that must at least (at most, for `lower`) be reached. Absent: the value is only printed. */
  readonly goal?: number
  /** The ratio to aim for. */
  readonly aim?: number
  /** Measures one sample of each side. Called `rounds` times; the medians are compared. `signal` aborts when the time for a row is over. */
  measure(options: { quick: boolean; signal: AbortSignal }): Promise<BenchSample>
  /** Samples to take. Default 3. */
  readonly rounds?: number
}

export interface BenchSample {
  readonly ours: number
  /** Absent for rows that have no peer. */
  readonly peer?: number
}

/** One line of `--json`. */
export interface BenchResult {
  readonly name: string
  readonly unit: string
  readonly ours: number
  readonly peer: string
  readonly peer_value: number | null
  readonly ratio: number | null
  readonly goal: number | null
  readonly better: 'higher' | 'lower'
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** Runs a row to its end, interleaving the two sides as `measure` does. */
export async function runRow(row: BenchRow, options: { quick: boolean; timeoutMs: number }): Promise<BenchResult> {
  const signal = AbortSignal.timeout(options.timeoutMs)
  const ours: number[] = []
  const peers: number[] = []
  for (let round = 0; round < (options.quick ? 1 : (row.rounds ?? 3)); round++) {
    const sample = await row.measure({ quick: options.quick, signal })
    ours.push(sample.ours)
    if (sample.peer !== undefined) peers.push(sample.peer)
  }
  const mine = median(ours)
  const theirs = peers.length === 0 ? null : median(peers)
  return {
    name: row.name,
    unit: row.unit,
    ours: mine,
    peer: row.peer,
    peer_value: theirs,
    ratio: theirs === null || theirs === 0 ? null : mine / theirs,
    goal: row.goal ?? null,
    better: row.better,
  }
}
