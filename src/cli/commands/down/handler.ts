import { sleep, systemClock } from '../../../core/clock.ts'
import { isKithError } from '../../../core/errors.ts'
import type { CommandHandler } from '../../spec.ts'

/** Between two looks whether the control interface has gone, the last thing to stop. */
const LOOK_MS = 20

export const run: CommandHandler = async ({ daemon, output, signal }) => {
  const client = await daemon()
  let pid: number | null = null
  try {
    pid = (await client.call('POST /v1/stop', {})).pid
    for (;;) {
      await sleep(systemClock, LOOK_MS, signal)
      await client.call('GET /v1/health', {})
    }
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING') && !(pid !== null && isKithError(error, 'CONTROL_FAILED'))) throw error
  }
  output.result({ stopped: pid !== null, pid }, () => (pid === null ? 'no node was running' : 'stopped'))
  return undefined
}
