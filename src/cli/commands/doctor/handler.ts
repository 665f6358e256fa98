import { systemClock } from '../../../core/clock.ts'
import { isKithError } from '../../../core/errors.ts'
import { loadConfig } from '../../../daemon/config/load.ts'
import { examine } from '../../../daemon/doctor/index.ts'
import type { NodeStatus } from '../../../daemon/status.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'

export const run: CommandHandler = async (context) => {
  const { home, env, output, signal } = context
  const { values } = await loadConfig({ home, env })
  const checks = await examine({ home, clock: systemClock, config: values, daemon: await runningStatus(context), signal })
  const shown = checks.map((check) => ({ ...check, next: check.next === null ? null : context.command(check.next) }))
  const human = (palette: Palette, columns: number): string[] => {
    const names = Math.max(...shown.map(({ name }) => name.length))
    return shown.flatMap(({ name, ok, detail, next }) => [
      ...table([[{ text: ok ? 'ok ' : 'bad', style: ok ? palette.good : palette.bad }, name.padEnd(names), detail]], { columns }),
      ...(next === null ? [] : [palette.quiet(`     next: ${next}`)]),
    ])
  }
  const failing = shown.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`)
  output.result({ checks: shown }, human, failing.join('\n') || undefined)
  return checks.every(({ ok }) => ok) ? 0 : 1
}

/** The daemon's own word, when there is one to ask. */
async function runningStatus(context: CommandContext): Promise<NodeStatus | undefined> {
  try {
    return await (await context.daemon()).call('GET /v1/status', {})
  } catch (error) {
    if (isKithError(error, 'DAEMON_NOT_RUNNING')) return undefined
    throw error
  }
}
