import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { median } from '../harness.ts'
import type { FarEnd, Load, NearReady } from './call-near.ts'
import { startJson, stop } from './processes.ts'
import type { Far } from './stopwatch.ts'

/** One of the programs that are compared: its near end is a process of its own, so that none of them runs in what another left in the caches and the compiler. */
export interface Contender {
  readonly did?: string
  /** Calls, or items of one stream, per second. */
  rate(count: number, width: Load['width']): Promise<number>
  close(): Promise<void>
}

/** Before anything is counted: rates are those of programs that have run for a while, and until then most of a short call is the compiler's time. */
const WARM_CALLS = 40_000
const WARM_ITEMS = 100_000
const TURNS = 5

/** `far`: the processes it talks to, for `--cpu`. */
export async function contender(end: FarEnd, far: readonly Far[]): Promise<Contender> {
  const flags = process.argv.includes('--cpu') ? ['--cpu'] : []
  const args = [...process.execArgv, join(import.meta.dirname, 'call-near.ts'), JSON.stringify(end), ...flags]
  const { child, ready } = await startJson<NearReady>(args)
  const pids = far.map((each) => (typeof each === 'number' ? each : (each.pid as number)))
  const warm = new Set<Load['width']>()
  const carry = async (count: number, width: Load['width']): Promise<number> => {
    const answer = once(child, 'message') as Promise<[{ seconds: number } | { error: string }]>
    const load: Load = { count, width, far: pids }
    child.send(load)
    const [told] = await answer
    if ('error' in told) throw new Error(told.error)
    return count / told.seconds
  }
  return {
    ...(ready.did === undefined ? {} : { did: ready.did }),
    async rate(count, width) {
      if (!warm.has(width)) await carry(width === 'stream' ? WARM_ITEMS : WARM_CALLS, width)
      warm.add(width)
      return await carry(count, width)
    },
    close: () => stop(child),
  }
}

/** Lets the far end of a kith node know whose calls will come. */
export async function introduce(far: ChildProcess, near: Contender): Promise<void> {
  const known = once(far, 'message')
  far.send(near.did as string)
  await known
}

/** Rates of two that take turns, many short ones: what else happens on the machine, or beside it, reaches both, and the middle turn of each counts. */
export async function inTurns(ours: Contender, peer: Contender, count: number, width: Load['width']): Promise<{ ours: number; peer: number }> {
  const rates = { ours: [] as number[], peer: [] as number[] }
  for (let turn = 0; turn < TURNS; turn++) {
    for (const side of ['ours', 'peer'] as const) rates[side].push(await { ours, peer }[side].rate(count, width))
  }
  return { ours: median(rates.ours), peer: median(rates.peer) }
}
