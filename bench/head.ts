/** A call through a head to a worker against the same call made to the worker itself: encrypted loopback TCP between each two processes, each way with a caller of its own. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { BenchRow, BenchSample } from './harness.ts'
import { type Contender, contender, inTurns } from './support/contender.ts'
import type { Told } from './support/head-server.ts'
import { startJson, stop } from './support/processes.ts'

interface World {
  readonly through: Contender
  readonly direct: Contender
  close(): Promise<void>
}

let world: Promise<World> | undefined

async function tell(child: ChildProcess, told: Told, answer = 'done'): Promise<void> {
  const done = new Promise<void>((resolve) => {
    const listen = (message: unknown): void => {
      if (message !== answer) return
      child.off('message', listen)
      resolve()
    }
    child.on('message', listen)
  })
  child.send(told)
  await done
}

async function open(): Promise<World> {
  const start = (role: string): Promise<{ child: ChildProcess; ready: { did: string; url: string } }> =>
    startJson([...process.execArgv, join(import.meta.dirname, 'support', 'head-server.ts'), role])
  const [head, worker] = await Promise.all([start('head'), start('worker')])
  await tell(head.child, { know: worker.ready.did })
  const registered = once(head.child, 'message')
  await tell(worker.child, { head: head.ready })
  await registered
  const near = async (end: typeof head, path: string, ...far: readonly ChildProcess[]): Promise<Contender> => {
    const caller = await contender({ kind: 'kith', peer: end.ready.did, url: end.ready.url, path }, far)
    await tell(end.child, { know: caller.did as string })
    return caller
  }
  const through = await near(head, '/worker/bench/echo', head.child, worker.child)
  const direct = await near(worker, '/bench/echo', worker.child)
  return {
    through,
    direct,
    async close() {
      for (const end of [through, direct]) await end.close()
      for (const { child } of [head, worker]) await stop(child)
    },
  }
}

export async function close(): Promise<void> {
  await (await world)?.close()
}

/** Ms a call takes. */
async function compare(width: number, quick: boolean): Promise<BenchSample> {
  world ??= open()
  const { through, direct } = await world
  const rates = await inTurns(through, direct, (quick ? 1_000 : 6_000) * (width === 1 ? 1 : 5), width)
  const latency = (rate: number): number => (1_000 * width) / rate
  return { ours: latency(rates.ours), peer: latency(rates.peer) }
}

const DIRECT = 'the same call made to the worker'

export const rows: readonly BenchRow[] = [
  { name: 'calls: through a head to a worker, 1 in flight', unit: 'ms', peer: DIRECT, better: 'lower', goal: 2, measure: ({ quick }) => compare(1, quick) },
  { name: 'calls: through a head to a worker, 64 in flight', unit: 'ms', peer: DIRECT, better: 'lower', measure: ({ quick }) => compare(64, quick) },
]
