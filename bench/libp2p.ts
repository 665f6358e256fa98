/** Against js-libp2p over TCP with noise and yamux: two processes on loopback. Its dial ends with the connection; ours with an echo over it besides. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { BenchRow, BenchSample } from './harness.ts'
import { yamuxFlow } from './support/flows.ts'
import { BULK, connect, type Node, startNode } from './support/libp2p.mjs'
import { MuxPair } from './support/mux-dial.ts'
import { bulk } from './support/mux-loads.ts'
import { startJson, stop } from './support/processes.ts'
import { rate, StreamPair, warmUp } from './support/stream-dial.ts'

/** One dialing node for each dial that is under way: a second dial to the same peer would join the first. */
const NODES = 16

interface World {
  readonly child: ChildProcess
  readonly address: string
  readonly nodes: readonly Node[]
  readonly stream: StreamPair
  readonly mux: MuxPair
}

let world: Promise<World> | undefined

async function start(): Promise<World> {
  const { child, ready } = await startJson<{ address: string }>([join(import.meta.dirname, 'support', 'libp2p-server.mjs')])
  const nodes = await Promise.all(Array.from({ length: NODES }, () => startNode()))
  return { child, address: ready.address, nodes, stream: await StreamPair.start(), mux: await MuxPair.start() }
}

export async function close(): Promise<void> {
  const ends = await world
  if (ends === undefined) return
  await stop(ends.child)
  await ends.stream.close()
  await ends.mux.close()
}

let warm = false

async function handshakes(count: number, peerCount: number, width: number, quick: boolean): Promise<BenchSample> {
  world ??= start()
  const { child, address, nodes, stream } = await world
  const ours = () => stream.oneOfOurs()
  const theirs = async (worker: number): Promise<void> => {
    const connection = await connect(nodes[worker] as Node, address)
    await connection.close()
  }
  if (!warm) await warmUp(16, quick, ours, theirs)
  warm = true
  return { ours: await rate(stream.child, count, width, ours), peer: await rate(child, peerCount, width, theirs) }
}

async function oneStream(ms: number): Promise<BenchSample> {
  world ??= start()
  const { child, address, nodes, mux } = await world
  const ours = await mux.sample('lean', async (open) => (await bulk(open, 1, ms, mux.child)).rate)
  const connection = await connect(nodes[0] as Node, address)
  const open = async () => yamuxFlow(await connection.newStream(BULK))
  const peer = (await bulk(open, 1, ms, child)).rate
  await connection.close()
  return { ours, peer }
}

const PEER = 'js-libp2p, TCP + noise'

export const rows: readonly BenchRow[] = [
  {
    name: 'stream: mutual handshake, sequential',
    unit: '1/s',
    peer: PEER,
    better: 'higher',
    goal: 6,
    measure: ({ quick }) => handshakes(quick ? 100 : 400, quick ? 30 : 80, 1, quick),
  },
  {
    name: 'stream: mutual handshake, 16 at once',
    unit: '1/s',
    peer: PEER,
    better: 'higher',
    goal: 6,
    measure: ({ quick }) => handshakes(quick ? 300 : 1_600, quick ? 60 : 240, 16, quick),
  },
  {
    name: 'mux: one stream, 64 KiB writes',
    unit: 'MB/s',
    peer: `${PEER} + yamux`,
    better: 'higher',
    goal: 2,
    measure: ({ quick }) => oneStream(quick ? 500 : 2_000),
  },
]
