import { KithError } from '../../../core/errors.ts'
import { localTime } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'

const MAX_ROWS = 1_000
const BROKEN_EXIT = 1

export const list: CommandHandler = async ({ daemon, output }, { options }) => {
  const limit = options.count('count')
  const before = options.count('before')
  if (limit !== undefined && (limit < 1 || limit > MAX_ROWS)) throw new KithError('USAGE', `--count is from 1 to ${MAX_ROWS}.`, { next: 'kith audit --help' })
  const query = { ...(limit === undefined ? {} : { limit }), ...(before === undefined ? {} : { before }) }
  const result = await (await daemon()).call('GET /v1/audit', query)
  output.result(
    result,
    (palette, columns) => {
      if (result.rows.length === 0) return palette.quiet('nothing yet')
      return table(
        result.rows.map(({ seq, time, actor, action, subject, name, reason, details }) => [
          { text: String(seq), style: palette.quiet },
          { text: localTime(time), style: palette.quiet },
          actor,
          { text: action, style: palette.strong },
          name ?? subject,
          [reason, ...Object.entries(details).map(([key, value]) => `${key}=${value}`)].filter((part) => part !== '').join('  '),
        ]),
        { columns, spare: [1] },
      )
    },
    result.rows.map(({ seq, action, subject }) => `${seq} ${action} ${subject}`).join('\n') || undefined,
  )
  return undefined
}

export const verify: CommandHandler = async ({ daemon, output }, { options }) => {
  const noted = options.text('noted')
  const result = await (await daemon()).call('POST /v1/audit/verify', noted === undefined ? {} : { noted })
  const { ok, rows, last, head, broken_at } = result
  output.result(
    result,
    (palette) => [
      ok ? `${palette.good('intact')}  ${rows} ${rows === 1 ? 'row' : 'rows'}` : `${palette.bad('broken')}  row ${broken_at} does not follow the one before`,
      palette.quiet(`head ${last}:${head}`),
    ],
    `${last}:${head}`,
  )
  return ok ? undefined : BROKEN_EXIT
}
