import { type LogWindow, MARK_EVERY } from './event-log.ts'
import { createSimulation, type Simulation, type SimulationOptions } from './simulation.ts'

/** A story in a simulated network; whatever it returns is for whoever started it. */
export type Scenario<T = void> = (sim: Simulation) => Promise<T>

export interface RunResult<T> {
  readonly value: T
  readonly digest: string
  /** Records in the log, and virtual ms that passed. */
  readonly records: number
  readonly virtualMs: number
}

/** One run from beginning to end. @throws whatever the scenario throws, with the seed that replays it in front. */
export async function runOnce<T>(scenario: Scenario<T>, options: SimulationOptions): Promise<RunResult<T>> {
  const { result } = await run(scenario, options)
  return result
}

/**
 * The same scenario from the same seed, twice. When the two differ, something in it depends on more than the seed: real time, real chance, the order in which
 * the machine got round to things.
 * @throws Error with the seed and the first record that differs; whatever the scenario throws, with the seed in front.
 */
export async function runTwice<T>(scenario: Scenario<T>, options: SimulationOptions): Promise<RunResult<T>> {
  const first = await run(scenario, options)
  const second = await run(scenario, options)
  if (first.result.digest === second.result.digest) return first.result
  const at = first.marks.findIndex((mark, index) => mark !== second.marks[index])
  const from = (at === -1 ? Math.min(first.marks.length, second.marks.length) : at) * MARK_EVERY
  throw new Error(`seed ${options.seed}: two runs differ. ${await firstDifference(scenario, options, { from, to: from + MARK_EVERY })}`)
}

async function firstDifference<T>(scenario: Scenario<T>, options: SimulationOptions, window: LogWindow): Promise<string> {
  const { lines: a } = await run(scenario, { ...options, window })
  const { lines: b } = await run(scenario, { ...options, window })
  for (let at = 0; at < Math.max(a.length, b.length); at++) {
    if (a[at] !== b[at]) return `First difference: ${a[at] ?? 'the end'}, the other time: ${b[at] ?? 'the end'}`
  }
  return `Two more runs did not differ in records ${window.from} to ${window.to}.`
}

async function run<T>(
  scenario: Scenario<T>,
  options: SimulationOptions,
): Promise<{ readonly result: RunResult<T>; readonly marks: readonly string[]; readonly lines: readonly string[] }> {
  const sim = createSimulation(options)
  try {
    const value = await scenario(sim)
    const { log } = sim
    return { result: { value, digest: sim.digest(), records: log.count, virtualMs: sim.now }, marks: log.marks, lines: log.lines }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new Error(`seed ${options.seed}, at ${sim.now} ms: ${message}`, { cause: error })
  } finally {
    await sim.close()
  }
}
