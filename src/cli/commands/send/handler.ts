import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { systemClock } from '../../../core/clock.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import type { Sent } from '../../../daemon/control/routes/services-api.ts'
import type { CommandContext } from '../../context.ts'
import { bytes, duration } from '../../format.ts'
import { shellWord } from '../../home.ts'
import { createProgressBar } from '../../progress.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'

export const run: CommandHandler = async (context, { args, options }) => {
  const [peer = '', file = ''] = args
  const path = resolve(context.cwd, file)
  await mustBeFile(path)
  const again = `kith send ${shellWord(peer)} ${shellWord(file)} --resume`
  const sent = await transfer(context, { peer, path, resume: options.flag('resume') }, again)
  context.output.result(
    sent,
    (palette) => [
      `${palette.good('sent')}  ${palette.strong(harmless(sent.name))}  ${bytes(sent.bytes)} in ${duration(sent.duration_ms)}${rate(sent)}${sent.providers > 1 ? `; ${sent.providers} peers gave it` : ''}`,
      palette.quiet(`sha256 ${sent.sha256}`),
    ],
    sent.name,
  )
  return undefined
}

/** Said before anybody is bothered; the node looks again when it opens the file. */
async function mustBeFile(path: string): Promise<void> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new KithError('FILE_MISSING', `${path} cannot be read: ${cause.code === 'ENOENT' ? 'it does not exist' : cause.code}.`, { cause })
  })
  if (!found.isFile()) throw new KithError('FILE_MISSING', `${path} is not a regular file.`)
}

async function transfer(context: CommandContext, input: { peer: string; path: string; resume: boolean }, again: string): Promise<Sent> {
  const client = await context.daemon()
  const bar = createProgressBar({
    clock: systemClock,
    label: harmless(basename(input.path)),
    ...(context.json || context.quiet ? {} : { terminal: context.terminal }),
  })
  let moved = false
  try {
    for await (const line of client.lines('POST /v1/send', input)) {
      if (line.event === 'stored') {
        const { event: _event, ...sent } = line
        return sent
      }
      moved = true
      bar.update({ done: line.bytes, total: line.total_bytes, before: line.resumed_bytes })
    }
  } catch (error) {
    bar.end()
    if (isKithError(error, 'INTERRUPTED') && moved) context.output.note(`Stopped. To go on: ${context.command(again)}`)
    throw resumable(error, again)
  } finally {
    bar.end()
  }
  // The stream ended without a receipt: the node was stopped or killed.
  throw new KithError('CONTROL_FAILED', 'The node ended while it was sending.', { next: 'kith up', details: { again: context.command(again) } })
}

/** What arrived is kept over there, whatever ended the transfer. */
function resumable(error: unknown, again: string): unknown {
  if (!isKithError(error) || !error.retryable) return error
  return new KithError(error.code, error.message, { details: error.details, remote: error.remote, cause: error, next: again })
}

function rate({ bytes: count, resumed, duration_ms: ms }: Sent): string {
  const speed = ms < 100 ? '' : `, ${bytes(((count - resumed) / ms) * 1_000)}/s`
  return resumed === 0 ? speed : `${speed}; ${bytes(resumed)} of it had arrived before`
}
