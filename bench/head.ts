/** A call through a head to a worker against the same call made to the worker itself: three processes, encrypted loopback TCP between each two. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { type CallClient, createCallClient } from '../src/call/link.ts'
import { systemClock } from '../src/core/clock.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { callNode, QUESTION } from './support/call-ends.ts'
import type { Told } from './support/head-server.ts'
import { startJson, stop } from './support/processes.ts'
import { type Far, stopwatch } from './support/stopwatch.ts'

/** Before anything is counted, of each side: until then most of a short call is the compiler's time, and the longer way has more to compile. */
const WARM_CALLS = 20_000

interface World {
  readonly client: CallClient
  readonly head: string
  readonly worker: string
  readonly children: readonly ChildProcess[]
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
  const { mesh } = await callNode()
  for (const { child } of [head, worker]) await tell(child, { know: mesh.did })
  await tell(head.child, { know: worker.ready.did })
  const registered = once(head.child, 'message')
  await tell(worker.child, { head: head.ready })
  await registered
  for (const [name, { ready }] of Object.entries({ head, worker })) {
    await mesh.book.add(ready.did, { name, urls: [ready.url], class: 'partner' })
    await mesh.dial(name)
  }
  const client = createCallClient(mesh, { clock: systemClock })
  return {
    client,
    head: head.ready.did,
    worker: worker.ready.did,
    children: [head.child, worker.child],
    async close() {
      client.close()
      await mesh.close()
      for (const { child } of [head, worker]) await stop(child)
    },
  }
}

export async function close(): Promise<void> {
  await (await world)?.close()
}

/** Ms a call takes. */
async function latency(count: number, width: number, far: readonly Far[], call: () => Promise<unknown>): Promise<number> {
  let left = count
  const elapsed = stopwatch(...far)
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) await call()
    }),
  )
  return (elapsed() * 1_000 * width) / count
}

let warm = false

async function compare(width: number, quick: boolean): Promise<BenchSample> {
  world ??= open()
  const { client, head, worker, children } = await world
  const count = (quick ? 2_000 : 10_000) * (width === 1 ? 1 : 3)
  const sides = [() => client.call(head, '/worker/bench/echo', QUESTION), () => client.call(worker, '/bench/echo', QUESTION)] as const
  if (!warm) for (const call of sides) await latency(WARM_CALLS, width, children, call)
  warm = true
  const times = [0, 0]
  for (let round = 0; round < 3; round++) {
    for (const [side, call] of sides.entries()) {
      const one = await latency(count, width, children, call)
      if (round > 0) times[side] = (times[side] as number) + one / 2
    }
  }
  return { ours: times[0] as number, peer: times[1] as number }
}

const DIRECT = 'the same call made to the worker'

export const rows: readonly BenchRow[] = [
  { name: 'calls: through a head to a worker, 1 in flight', unit: 'ms', peer: DIRECT, better: 'lower', goal: 2, measure: ({ quick }) => compare(1, quick) },
  { name: 'calls: through a head to a worker, 64 in flight', unit: 'ms', peer: DIRECT, better: 'lower', measure: ({ quick }) => compare(64, quick) },
]
