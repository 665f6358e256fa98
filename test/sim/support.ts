import { type TestContext, test } from 'node:test'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { FOUNDING_TOPICS } from '../../src/gossip/founding-topics.ts'
import type { SimNode, SimNodeOptions } from '../../src/testing/node.ts'
import { type RunResult, runTwice, type Scenario } from '../../src/testing/run-twice.ts'
import type { LinkOptions, Simulation, SimulationOptions } from '../../src/testing/simulation.ts'
import { type Edge, randomRegular } from '../../src/testing/topology.ts'

export interface ScenarioOptions extends Omit<SimulationOptions, 'seed'> {
  /** Default: 1. */
  readonly seeds?: readonly number[]
}

/**
 * A test that plays a scenario twice from each seed and compares the digests. What the scenario returns is printed beside the seed by `npm run test:sim`;
 * `npm run test:sim -- --seed N` plays that one seed.
 */
export function scenario(name: string, play: Scenario<string>, options: ScenarioOptions = {}): void {
  const { seeds = [1], ...rest } = options
  for (const seed of chosen() ?? seeds) {
    test(`${name}, seed ${seed}, the same twice`, async (t) => {
      const started = performance.now()
      const result = await runTwice(play, { signMldsa, ...rest, seed })
      report(t, result, performance.now() - started)
    })
  }
}

/** Without ML-DSA: a tenth of the computing, for many nodes. What is the same with it is shown by few. */
export const CLASSICAL: SimNodeOptions = { postQuantum: false }

/**
 * The owner lets nobody read what all nodes tell all nodes: checking each other's papers is what many nodes compute longest on, and what is the same without them
 * need not wait for it.
 */
export async function keepPapers({ mesh, runs }: SimNode): Promise<void> {
  if (runs > 1) return
  for (const { name } of FOUNDING_TOPICS) await mesh.policy.deny('*', 'subscribe', name)
}

/** `count` nodes in a random graph in which everybody knows `degree` others, all links up. */
export async function linkedNodes(
  sim: Simulation,
  count: number,
  degree = 6,
  conditions: LinkOptions = {},
  options: SimNodeOptions = CLASSICAL,
): Promise<readonly Edge[]> {
  const nodes = await sim.nodes(count, options)
  const names = nodes.map(({ name }) => name)
  const edges = randomRegular(names, degree, sim.random)
  sim.connect(edges, conditions)
  await sim.until(() => allLinked(sim, edges), { everyMs: 100 })
  return edges
}

/** Whether everybody who should be linked and runs is, from both sides. */
export function allLinked(sim: Simulation, edges: readonly Edge[]): boolean {
  const linked = new Map(sim.all().map((node) => [node.name, new Set(node.linked())]))
  return edges.every(([a, b]) => linked.get(a)?.has(b) === true && linked.get(b)?.has(a) === true)
}

/** The same signature each time, so that a seed gives the same run in every process. */
function signMldsa(seed: Uint8Array, message: Uint8Array): Uint8Array {
  return ml_dsa65.sign(message, ml_dsa65.keygen(seed).secretKey, { extraEntropy: false })
}

function chosen(): readonly number[] | undefined {
  const text = process.env.SIM_SEED
  if (text === undefined) return undefined
  const seed = Number(text)
  if (text === '' || !Number.isSafeInteger(seed)) throw new TypeError('SIM_SEED must be a whole number')
  return [seed]
}

function report(t: TestContext, { value, digest, virtualMs, records }: RunResult<string>, ms: number): void {
  const times = `${Math.round(virtualMs / 1_000)} virtual s twice in ${(ms / 1_000).toFixed(1)} s`
  process.stdout.write(`${t.name}: ${value}; ${times}, ${records} records, digest ${digest.slice(0, 16)}\n`)
}
