import { join } from 'node:path'
import { isKithError, KithError } from '../../../core/errors.ts'
import type { Level } from '../../../daemon/control/routes/node.ts'
import { readLog } from '../../../daemon/logs/read.ts'
import { type LogRecord, lastOf } from '../../../daemon/logs/store.ts'
import { homePaths } from '../../../identity/home.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine, type Palette, palette } from '../../style.ts'

const PLAIN: Palette = palette(false)
const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error'] satisfies Level[]

const DEFAULT_COUNT = 200

export const run: CommandHandler = async (context, { options }) => {
  const { daemon, output } = context
  const level = options.text('level')
  if (level !== undefined && !LEVELS.includes(level)) throw new KithError('USAGE', `--level takes ${LEVELS.join(', ')}.`, { next: 'kith logs --help' })
  const count = options.count('count')
  if (count !== undefined && count > 2_000) throw new KithError('USAGE', '--count is at most 2000.', { next: 'kith logs --help' })
  const records = (await daemon()).lines('GET /v1/logs', {
    follow: options.flag('follow'),
    ...(count === undefined ? {} : { count }),
    ...(level === undefined ? {} : { level: level as Level }),
  })
  const show = (record: LogRecord): void => output.result(record, (colours) => line(record, colours), line(record, PLAIN))
  try {
    for await (const record of records) show(record)
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING') || options.flag('follow')) throw error
    const left = await lastWords(context, count ?? DEFAULT_COUNT, LEVELS.indexOf(level ?? 'debug'))
    if (left.length === 0) throw error
    for (const record of left) show(record)
    output.note(`The node is not running: these are its last words. ${context.command('kith up')} starts it.`)
  }
  return undefined
}

/** What a node that ended, or was killed, has left in its file. */
async function lastWords({ home }: CommandContext, count: number, least: number): Promise<readonly LogRecord[]> {
  const records = await readLog(join(homePaths(home).log, 'kith.log'))
  return lastOf(
    records.filter((record) => LEVELS.indexOf(String(record.level)) >= least),
    count,
  )
}

/** One record as people read it: one line, whatever is in it. */
export function line({ time, level, event, ...fields }: LogRecord, colours: Palette): string {
  const at = typeof time === 'number' && Number.isFinite(time) ? clock(new Date(time)) : ''
  const paint = level === 'error' ? colours.bad : level === 'warn' ? colours.warn : colours.quiet
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const parts = [
    colours.quiet(at),
    paint(harmlessLine(String(level ?? '')).padEnd(5)),
    harmlessLine(String(event ?? '')),
    colours.quiet(harmlessLine(rest.join(' '))),
  ]
  return parts.filter((part) => part !== '').join(' ')
}

/** Day and time as the clock on the wall shows them. */
function clock(at: Date): string {
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000)
  return Number.isNaN(local.getTime()) ? '' : local.toISOString().slice(0, 23).replace('T', ' ')
}
