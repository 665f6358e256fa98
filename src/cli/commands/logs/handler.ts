import { KithError } from '../../../core/errors.ts'
import type { Level } from '../../../daemon/control/routes/node.ts'
import type { LogRecord } from '../../../daemon/logs/store.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine, type Palette, palette } from '../../style.ts'

const PLAIN: Palette = palette(false)
const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies Level[]

export const run: CommandHandler = async ({ daemon, output }, { options }) => {
  const level = options.text('level')
  if (level !== undefined && !LEVELS.includes(level)) throw new KithError('USAGE', `--level takes ${LEVELS.join(', ')}.`, { next: 'kith logs --help' })
  const count = options.count('count')
  if (count !== undefined && count > 2_000) throw new KithError('USAGE', '--count is at most 2000.', { next: 'kith logs --help' })
  const records = (await daemon()).lines('GET /v1/logs', {
    follow: options.flag('follow'),
    ...(count === undefined ? {} : { count }),
    ...(level === undefined ? {} : { level: level as Level }),
  })
  for await (const record of records) output.result(record, (colours) => line(record, colours), line(record, PLAIN))
  return undefined
}

/** One record as people read it: one line, whatever is in it. */
export function line({ time, level, event, ...fields }: LogRecord, colours: Palette): string {
  const at = typeof time === 'number' ? new Date(time).toISOString().slice(11, 23) : ''
  const paint = level === 'error' ? colours.bad : level === 'warn' ? colours.warn : colours.quiet
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const parts = [
    colours.quiet(at),
    paint(harmlessLine(String(level ?? '')).padEnd(5)),
    harmlessLine(String(event ?? '')),
    colours.quiet(harmlessLine(rest.join(' '))),
  ]
  return parts.filter((part) => part !== '').join(' ')
}
