import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'

/** A clock as the machine's own, but off by this much. */
export function shiftedClock(ms: number): Clock {
  return { ...systemClock, now: () => systemClock.now() + ms }
}

export interface Nodes {
  /** A whole node of this process, without a control socket. */
  open(name: string, options?: { listen?: readonly string[]; clock?: Clock; prefer?: readonly string[] }): Promise<Runtime>
}

export async function createNodes(t: TestContext): Promise<Nodes> {
  const folder = await mkdtemp(join(tmpdir(), 'kith-shows-'))
  const running: Runtime[] = []
  t.after(async () => {
    await Promise.all(running.map((node) => node.close()))
    await rm(folder, { recursive: true, force: true })
  })
  return {
    async open(name, { listen = ['tcp://127.0.0.1:0'], clock, prefer } = {}) {
      const node = await openRuntime({
        home: join(folder, name),
        env: { XDG_STATE_HOME: join(folder, 'state') },
        flags: { listen, 'shutdown.drain': '0s', ...(prefer === undefined ? {} : { 'link.prefer': prefer }) },
        create: { name },
        control: false,
        ...(clock === undefined ? {} : { clock }),
      })
      running.push(node)
      return node
    },
  }
}

/** Pairs two nodes by a ticket of the first. */
export async function pair(inviter: Runtime, joiner: Runtime): Promise<void> {
  const { ticket } = await inviter.mesh.invites.create()
  await joiner.mesh.join(ticket)
}

/** Waits for events of these nodes until the condition holds; the test's timeout bounds it. */
export async function until(nodes: readonly Runtime[], condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise<void>((resolve) => {
      // What has no event of its own, as a connection that has drained, is looked at again.
      const timer = setTimeout(done, 50)
      const stops = nodes.map((node) => node.events.on(done))
      function done(): void {
        clearTimeout(timer)
        for (const stop of stops) stop()
        resolve()
      }
    })
  }
}
