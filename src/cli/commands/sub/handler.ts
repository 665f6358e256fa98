import { KithError } from '../../../core/errors.ts'
import type { EntryLine } from '../../../daemon/control/routes/gossip-api.ts'
import { bytes, localTime } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine, type Palette } from '../../style.ts'

export const run: CommandHandler = async ({ daemon, output }, { args, options }) => {
  const [topic = ''] = args
  const count = options.count('count')
  if (count === 0) throw new KithError('USAGE', '--count is at least 1.', { next: 'kith sub --help' })
  let seen = 0
  for await (const entry of (await daemon()).lines('GET /v1/subscribe', { topic, replay: options.flag('replay') })) {
    if (entry.lost > 0) output.note(`${entry.lost} entries were missed: they came faster than they were read.`)
    output.result(entry, (palette) => line(entry, palette), entry.text ?? entry.data)
    seen += 1
    if (seen === count) return undefined
  }
  throw new KithError('CONTROL_FAILED', 'The node ended.', { next: 'kith up' })
}

function line(entry: EntryLine, palette: Palette): string {
  const text = entry.text === null ? palette.quiet(`${bytes(entry.bytes)} that are not text`) : harmlessLine(entry.text.trimEnd())
  return `${palette.quiet(localTime(entry.time))}  ${palette.strong(harmlessLine(entry.author_name ?? entry.author))}  ${text}`
}
