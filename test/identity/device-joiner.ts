// Run by device-kill.test.ts: asks, approves and joins, telling before each step, until it is killed. Each step may have been done by an earlier process.
import { stepsOf } from './device-steps.ts'

const [owner = '', machine = ''] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
for (const [at, step] of stepsOf(owner, machine).entries()) {
  process.send?.(at)
  await step()
}
process.send?.('done')
