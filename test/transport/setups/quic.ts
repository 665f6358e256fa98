import { openRelay, side } from '../quic-support.ts'
import type { Scene } from '../support.ts'

/** Silence is noticed after two seconds here, so that a lost connection does not hold a test up. */
const IDLE_MS = 2_000

export async function setup(): Promise<Scene> {
  const wire = await openRelay()
  return {
    dialer: side({ idleMs: IDLE_MS, dialTimeoutMs: 3_000 }),
    listener: side({ idleMs: IDLE_MS }),
    stranger: side().key,
    address: 'quic://127.0.0.1:0',
    through: async (address) => wire.to(address),
    lose: () => wire.cut(),
    // The suite closes the scene before its connections, whose last words still have to pass.
    close: async () => wire.retire(),
  }
}
