import { join } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import { ago, bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'

const MAX_LISTED = 10_000

export const run: CommandHandler = async ({ daemon, output, command }, { options }) => {
  const limit = options.count('count')
  if (limit !== undefined && (limit < 1 || limit > MAX_LISTED))
    throw new KithError('USAGE', `--count is from 1 to ${MAX_LISTED}.`, { next: 'kith inbox --help' })
  const result = await (await daemon()).call('GET /v1/inbox', limit === undefined ? {} : { limit })
  const { inbox, files } = result
  output.result(
    result,
    (palette) => {
      if (files.length === 0) return palette.quiet(`nothing in ${inbox} yet`)
      const rows = table([
        ['name', 'from', 'size', 'received', ''].map((text) => ({ text, style: palette.quiet })),
        ...files.map(({ name, from, from_name, bytes: size, received_at, here }) => [
          { text: name, style: here ? palette.strong : palette.quiet },
          from_name ?? from,
          bytes(size),
          ago(received_at, Date.now()),
          { text: here ? '' : 'moved', style: palette.quiet },
        ]),
      ])
      return [...rows, palette.quiet(`in ${inbox}`)]
    },
    files
      .filter(({ here }) => here)
      .map(({ name }) => join(inbox, name))
      .join('\n') || undefined,
  )
  if (files.length === 0) output.note(`next: ${command('kith allow PEER file')}`)
  return undefined
}
