import type { Clock } from '../core/clock.ts'
import type { Member } from './link-member.ts'

const POLL_MS = 20

/** Before a node stops: no new streams begin, and those that run get a moment to end. */
export async function drainMembers(members: readonly Member[], clock: Clock, withinMs: number): Promise<void> {
  const until = clock.monotonic() + withinMs
  for (const { connection } of members) connection.drain()
  const busy = (): boolean => members.some(({ state, connection, controlAttached }) => state !== 'closed' && connection.streamCount > Number(controlAttached))
  while (busy() && clock.monotonic() < until) {
    await new Promise<void>((resolve) => {
      clock.after(POLL_MS, resolve, { keepAlive: true })
    })
  }
}
