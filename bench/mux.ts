/** The multiplexer over the encrypted stream, two processes on loopback, against what a Node program would use instead. */
import type { BenchRow, BenchSample } from './harness.ts'
import type { Flow } from './support/flows.ts'
import { MuxPair, type Stack } from './support/mux-dial.ts'
import { besideBulk, bulk, echoes, newStreams } from './support/mux-loads.ts'
import type { Far } from './support/stopwatch.ts'

let started: Promise<MuxPair> | undefined

export async function close(): Promise<void> {
  await (await started)?.close()
}

type Open = () => Flow | Promise<Flow>
type Measure = (open: Open, far: Far) => Promise<number>

async function compare(ours: Stack, peer: Stack, measure: Measure, peerMeasure: Measure = measure): Promise<BenchSample> {
  started ??= MuxPair.start()
  const pair = await started
  return {
    ours: await pair.sample(ours, (open) => measure(open, pair.child)),
    peer: await pair.sample(peer, (open) => peerMeasure(open, pair.child)),
  }
}

const NPM = 'npm yamux, same encrypted stream'
const seconds = (quick: boolean): number => (quick ? 500 : 2000)

/** Warmed up, then measured. */
const requests =
  (quick: boolean, count: number) =>
  async (open: Open, far: Far): Promise<number> => {
    await newStreams(open, Math.floor(count / 5), far)
    return await newStreams(open, quick ? Math.floor(count / 5) : count, far)
  }

export const rows: readonly BenchRow[] = [
  {
    name: 'mux: a new stream per request, 64 in flight, lean',
    unit: '/s',
    peer: NPM,
    better: 'higher',
    goal: 8,
    aim: 14,
    measure: ({ quick }) => compare('lean', 'yamux', requests(quick, 100_000), requests(quick, 15_000)),
  },
  {
    name: 'mux: a new stream per request, 64 in flight, Duplex',
    unit: '/s',
    peer: NPM,
    better: 'higher',
    goal: 3,
    measure: ({ quick }) => compare('duplex', 'yamux', requests(quick, 50_000), requests(quick, 15_000)),
  },
  {
    name: 'mux: 100 streams in parallel, all together',
    unit: 'MB/s',
    peer: NPM,
    better: 'higher',
    goal: 1.3,
    aim: 1.6,
    measure: ({ quick }) => compare('lean', 'yamux', async (open, far) => (await bulk(open, 100, seconds(quick), far)).rate),
  },
  {
    name: 'mux: 100 streams in parallel, fairness (at least 0.98)',
    unit: 'Jain',
    peer: NPM,
    better: 'higher',
    measure: ({ quick }) => compare('lean', 'yamux', async (open, far) => (await bulk(open, 100, seconds(quick), far)).fairness),
  },
  {
    name: 'mux: 100-byte echo, 64 in flight, one stream',
    unit: '/s',
    peer: 'secret-stream over TCP',
    better: 'higher',
    goal: 1.5,
    aim: 3,
    measure: ({ quick }) => compare('lean', 'secret', (open, far) => echoes(open, quick ? 50_000 : 300_000, far)),
  },
  {
    name: 'mux: one stream, 64 KiB writes',
    unit: 'MB/s',
    peer: 'node:tls 1.3, AES-256-GCM',
    better: 'higher',
    goal: 0.85,
    aim: 1.1,
    measure: ({ quick }) => compare('lean', 'tls', async (open, far) => (await bulk(open, 1, seconds(quick), far)).rate),
  },
  {
    name: 'mux: 100-byte round trip beside 20 bulk streams, median',
    unit: 'ms',
    peer: 'node:http2 over node:tls',
    better: 'lower',
    goal: 0.4,
    aim: 0.15,
    measure: ({ quick }) => compare('lean', 'http2', async (open, far) => (await besideBulk(open, seconds(quick), far)).p50),
  },
  {
    name: 'mux: 100-byte round trip beside 20 bulk streams, 99th percentile',
    unit: 'ms',
    peer: 'node:http2 over node:tls',
    better: 'lower',
    goal: 1,
    measure: ({ quick }) => compare('lean', 'http2', async (open, far) => (await besideBulk(open, seconds(quick), far)).p99),
  },
]
