/** Entries of one publisher to 50 nodes in one process, over encrypted loopback TCP. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { BenchRow } from './harness.ts'
import type { GossipAnswer, GossipLoad } from './support/gossip-world.mjs'
import { startJson, stop } from './support/processes.ts'
import { stopwatch } from './support/stopwatch.ts'

const SUPPORT: string = join(import.meta.dirname, 'support')
const PEER = '@libp2p/gossipsub 17, TCP + noise + yamux'
/** Entries at once under way of the publisher. */
const WIDTH = 8

let programs: Promise<readonly [ChildProcess, ChildProcess]> | undefined

/** Both stand for the whole run; only one works at a time. */
function worlds(): Promise<readonly [ChildProcess, ChildProcess]> {
  programs ??= (async () => {
    const ours = await startJson([...process.execArgv, join(SUPPORT, 'kith-gossip.ts')], { readyMs: 120_000 })
    const peer = await startJson([join(SUPPORT, 'gossipsub.mjs')], { readyMs: 120_000 })
    return [ours.child, peer.child]
  })()
  return programs
}

export async function close(): Promise<void> {
  for (const child of (await programs) ?? []) await stop(child)
}

interface Figures {
  /** Deliveries per second. */
  readonly rate: number
  /** Over the sockets, for each delivery. */
  readonly bytes: number
}

async function load(child: ChildProcess, count: number): Promise<Figures> {
  const asked: GossipLoad = { count, size: 1_024, width: WIDTH }
  const elapsed = stopwatch(child)
  child.send(asked)
  const [{ delivered, awaited, bytes }] = (await once(child, 'message')) as [GossipAnswer]
  const seconds = elapsed()
  if (delivered < awaited) throw new Error(`${delivered} of ${awaited} entries were delivered`)
  return { rate: delivered / seconds, bytes: bytes / delivered }
}

const measured: Promise<{ readonly ours: Figures; readonly peer: Figures }>[] = []

/** Each sample once, for the rate and for the bytes. */
function sample(round: number, quick: boolean): Promise<{ readonly ours: Figures; readonly peer: Figures }> {
  const known = measured[round]
  if (known !== undefined) return known
  const taking = (async () => {
    const [ours, peer] = await worlds()
    if (round === 0) for (const child of [ours, peer]) await load(child, 20)
    return { ours: await load(ours, quick ? 100 : 400), peer: await load(peer, quick ? 20 : 50) }
  })()
  measured.push(taking)
  return taking
}

let rates = 0
let sizes = 0

export const rows: readonly BenchRow[] = [
  {
    name: 'gossip: 1 publisher to 50 nodes, 1 KiB entries, deliveries',
    unit: '/s',
    peer: PEER,
    better: 'higher',
    goal: 2,
    async measure({ quick }) {
      const { ours, peer } = await sample(rates++, quick)
      return { ours: ours.rate, peer: peer.rate }
    },
  },
  {
    name: 'gossip: 1 publisher to 50 nodes, 1 KiB entries, bytes for each',
    unit: 'B',
    peer: PEER,
    better: 'lower',
    goal: 1,
    async measure({ quick }) {
      const { ours, peer } = await sample(sizes++, quick)
      return { ours: ours.bytes, peer: peer.bytes }
    },
  },
]
