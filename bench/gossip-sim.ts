/** Gossip over memory links in the simulator: what a delivery costs without sockets, how long it takes in virtual time, and what two nodes need to find out in what they differ. */
import type { BenchRow } from './harness.ts'
import { antiEntropy, SimGossip } from './support/sim-gossip.ts'

/** Virtual time: the same in every run. */
let latency: Promise<Awaited<ReturnType<SimGossip['latency']>>> | undefined

async function latencies(quick: boolean): Promise<Awaited<ReturnType<SimGossip['latency']>>> {
  const world = await SimGossip.start({ latencyMs: 30, jitterMs: 20 })
  try {
    return await world.latency(quick ? 30 : 100)
  } finally {
    await world.close()
  }
}

async function difference(quick: boolean, where: 'spread' | 'last'): Promise<number> {
  const count = quick ? 20_000 : 100_000
  const { bytes, all } = await antiEntropy({ count, missing: count / 200, where })
  return (bytes / all) * 100
}

export const rows: readonly BenchRow[] = [
  {
    name: 'gossip: 1 publisher to 50 nodes over memory links, deliveries',
    unit: '/s',
    peer: '',
    better: 'higher',
    rounds: 1,
    async measure({ quick }) {
      const world = await SimGossip.start({ latencyMs: 0 })
      try {
        return { ours: await world.throughput(quick ? 100 : 400) }
      } finally {
        await world.close()
      }
    },
  },
  {
    name: 'gossip: virtual latency over links of 30 to 50 ms, median',
    unit: 'ms',
    peer: '',
    better: 'lower',
    rounds: 1,
    async measure({ quick }) {
      latency ??= latencies(quick)
      return { ours: (await latency).median }
    },
  },
  {
    name: 'gossip: virtual latency over links of 30 to 50 ms, 99th percentile',
    unit: 'ms',
    peer: '',
    better: 'lower',
    rounds: 1,
    async measure({ quick }) {
      latency ??= latencies(quick)
      return { ours: (await latency).p99 }
    },
  },
  {
    name: 'gossip: compare 100,000 entries, 1 % differ, spread evenly',
    unit: '% bytes',
    peer: '',
    better: 'lower',
    goal: 5,
    rounds: 1,
    measure: async ({ quick }) => ({ ours: await difference(quick, 'spread') }),
  },
  {
    name: 'gossip: compare 100,000 entries, 1 % differ, the latest ones',
    unit: '% bytes',
    peer: '',
    better: 'lower',
    goal: 5,
    rounds: 1,
    measure: async ({ quick }) => ({ ours: await difference(quick, 'last') }),
  },
]
