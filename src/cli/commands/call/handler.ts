import { KithError } from '../../../core/errors.ts'
import type { CallInput, CallResult } from '../../../daemon/control/routes/calls-api.ts'
import type { CommandContext } from '../../context.ts'
import type { CommandHandler } from '../../spec.ts'

/** What the control interface takes in one request, with room around it. */
const MAX_INPUT_BYTES = 1_048_576

export const run: CommandHandler = async (context, { args, options }) => {
  const [path = '', word] = args
  const streaming = options.flag('stream')
  const raw = options.flag('raw')
  const deadlineMs = options.durationMs('deadline')
  const after = options.text('after')
  if (deadlineMs === 0) throw new KithError('USAGE', '--deadline is longer than nothing.', { next: 'kith call --help' })
  if (after !== undefined && !streaming) throw new KithError('USAGE', '--after needs --stream.', { next: 'kith call --help' })
  const request: CallInput = {
    path,
    ...(word === undefined ? {} : { input: await inputOf(word, context) }),
    ...(deadlineMs === undefined ? {} : { deadline_ms: deadlineMs }),
    ...(after === undefined ? {} : { last_event_id: after }),
  }
  const client = await context.daemon()
  if (!streaming) {
    await print(context, await client.call('POST /v1/call', request), raw, false)
    return undefined
  }
  for await (const item of client.lines('POST /v1/call/stream', request)) await print(context, item, raw, true)
  return undefined
}

async function inputOf(word: string, { terminal, signal, output }: CommandContext): Promise<unknown> {
  if (word === '-' && terminal.interactive) output.note('Type the input as JSON, then Enter.')
  const text = word === '-' ? (await terminal.readInput(MAX_INPUT_BYTES, signal)).toString('utf8') : word
  try {
    return JSON.parse(text) as unknown
  } catch {
    const hint = /^[{["]|^(-?[0-9]|true$|false$|null$)/.test(text.trim()) ? '' : `; a text stands in quotes, as in '"${text.slice(0, 30)}"'`
    throw new KithError('USAGE', `The input is not JSON${hint}.`, { next: 'kith call --help' })
  }
}

/** A stream keeps one value a line; a single answer may take several for people. */
async function print({ output, terminal, json }: CommandContext, { value, bytes }: CallResult, raw: boolean, line: boolean): Promise<void> {
  if (bytes !== undefined && raw && !json) {
    await terminal.send(Buffer.from(bytes, 'base64'))
    return
  }
  const shown = bytes === undefined ? value : bytes
  const compact = JSON.stringify(shown)
  const bare = raw && typeof shown === 'string' ? shown : compact
  output.value(shown, raw || line ? bare : JSON.stringify(shown, null, 2), bare)
}
