import { KithError } from '../../../core/errors.ts'
import { bytes } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmlessLine } from '../../style.ts'

const MAX_DATA_BYTES = 1_048_576

export const run: CommandHandler = async ({ daemon, output, terminal, signal }, { args }) => {
  const [topic = '', word = '-'] = args
  const client = await daemon()
  if (word === '-' && terminal.interactive) output.note('Type the entry, then Enter.')
  const data = word === '-' ? await terminal.readInput(MAX_DATA_BYTES, signal) : Buffer.from(word)
  // What was published cannot be taken back: a command before the pipe that failed publishes nothing. pub TOPIC '' does.
  if (word === '-' && data.length === 0) throw new KithError('USAGE', 'There is nothing to publish: standard input is empty.', { next: 'kith pub --help' })
  const entry = await client.call('POST /v1/publish', { topic, data: data.toString('base64') })
  output.result(
    entry,
    (palette) => `${palette.good('published')}  ${bytes(entry.bytes)} to ${palette.strong(harmlessLine(entry.topic))}  ${palette.quiet(entry.id)}`,
    entry.id,
  )
  if (entry.readers === 0) output.note('No peer that is linked now reads this topic; those who read it get the entry when they link.')
  return undefined
}
