import { join } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import type { MessageListed } from '../../../daemon/control/routes/mail-api.ts'
import type { InboxListed } from '../../../daemon/control/routes/services-api.ts'
import type { CommandContext } from '../../context.ts'
import { ago, bytes, localTime } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, harmlessLine, type Palette, table } from '../../style.ts'

const MAX_LISTED = 10_000

export const run: CommandHandler = async (context, { options }) => {
  const { daemon, output, command, json, quiet } = context
  const doomed = options.text('delete')
  if (doomed !== undefined) return await remove(context, doomed)
  const limit = options.count('count')
  if (limit !== undefined && (limit < 1 || limit > MAX_LISTED))
    throw new KithError('USAGE', `--count is from 1 to ${MAX_LISTED}.`, { next: 'kith inbox --help' })
  const client = await daemon()
  const result = await client.call('GET /v1/inbox', limit === undefined ? {} : { limit })
  const { inbox, files, messages } = result
  output.result(
    result,
    (palette) => {
      if (files.length + messages.length === 0) return palette.quiet(`nothing in ${inbox} yet`)
      const gap = files.length > 0 && messages.length > 0 ? [''] : []
      return [...messageLines(messages, palette), ...gap, ...fileLines(files, inbox, palette)]
    },
    files
      .filter(({ here }) => here)
      .map(({ name }) => join(inbox, name))
      .join('\n') || undefined,
  )
  if (files.length + messages.length === 0) output.note(`next: ${command('kith allow PEER file')}`)
  if (result.older_messages > 0) output.note(`${result.older_messages} older messages are not shown.`)
  // Shown to a person: read.
  const unread = messages.filter(({ read }) => !read)
  if (!json && !quiet && unread.length > 0) await client.call('POST /v1/messages/read', { cursors: unread.map(({ cursor }) => cursor) })
  return undefined
}

async function remove({ daemon, output }: CommandContext, id: string): Promise<undefined> {
  const result = await (await daemon()).call('POST /v1/messages/delete', { id })
  output.result(result, () => `deleted ${result.id}`, result.id)
  return undefined
}

/** One message after the other: who, when, and what, its lines indented so that none looks like ours. */
function messageLines(messages: readonly MessageListed[], palette: Palette): string[] {
  return messages.flatMap((message) => {
    const { id, from, from_name, time, text, read, bytes: size } = message
    const head = [
      palette.strong(harmlessLine(from_name ?? from)),
      palette.quiet(localTime(time)),
      palette.quiet(id.slice(0, 8)),
      ...(read ? [] : [palette.good('new')]),
    ].join('  ')
    const body = text === null ? [palette.quiet(`${bytes(size)} that are not text`)] : harmless(text.trimEnd()).split('\n')
    return [head, ...body.map((line) => `  ${line}`)]
  })
}

function fileLines(files: readonly InboxListed[], inbox: string, palette: Palette): string[] {
  if (files.length === 0) return []
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
}
