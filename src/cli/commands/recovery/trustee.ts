import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import type { RecoveryShown } from '../../../daemon/control/routes/recovery-api.ts'
import type { CommandContext } from '../../context.ts'
import { passphraseForDaemon } from '../../passphrase.ts'
import { qrLines } from '../../qr.ts'
import type { CommandHandler } from '../../spec.ts'
import { known } from '../id/change.ts'
import { recoveryLines, trusteeScreen } from './words.ts'

const MAX_TEXT_BYTES = 65_536
const ID = /^[0-9a-f]{4,32}$/

export const show: CommandHandler = async (context, { args: [id = ''] }) => {
  const one = await (await context.daemon()).call('POST /v1/recovery/show', { id })
  context.output.result(one, (palette, columns) => recoveryLines(one, palette, columns), one.id)
  return undefined
}

export const attest: CommandHandler = async (context, { args: [given = ''], options }) => {
  const client = await context.daemon()
  const one = ID.test(given) ? await client.call('POST /v1/recovery/show', { id: given }) : await take(context, client, given)
  if (!one.attested_here) for (const line of trusteeScreen(one, context.output.palette)) context.output.note(line)
  const words = options.text('words') ?? (await spoken(context, one))
  const secret = await passphraseForDaemon(context, options, (await known(context)).passphrase === 'stored')
  try {
    const after = await client.callWithSecret('POST /v1/recovery/attest', { id: one.id, words }, secret)
    context.output.result(after, (palette, columns) => [palette.good('attested'), ...recoveryLines(after, palette, columns)], after.id)
    context.output.note(`Were you fooled? ${context.command(`kith recovery cancel ${after.id.slice(0, 8)}`)}`)
  } finally {
    secret?.wipe()
  }
  return undefined
}

/** What the person read out. Without a terminal nobody can have compared anything, and nothing is attested. */
async function spoken({ terminal, json, signal }: CommandContext, one: RecoveryShown): Promise<string> {
  const next = `kith recovery attest ${one.id.slice(0, 8)} --words "WORD WORD WORD WORD"`
  if (json || !terminal.interactive) throw new KithError('USAGE', 'The words that the person read out are missing.', { next })
  if (!(await terminal.confirm('Did you hear exactly these four words, from a voice you know?', false, signal)))
    throw new KithError('RECOVERY_WORDS', 'Nothing was attested.', { details: { id: one.id }, next })
  return one.words ?? ''
}

export const exportText: CommandHandler = async ({ daemon, output }, { args: [id = ''], options }) => {
  const result = await (await daemon()).call('POST /v1/recovery/text', { id })
  output.result(
    result,
    (_palette, columns) => [
      result.texts.join('\n\n'),
      ...(options.flag('qr') ? result.texts.flatMap((text) => qrLines(text.replaceAll('\n', ''), columns)) : []),
    ],
    result.texts[0],
  )
  return undefined
}

export const importText: CommandHandler = async (context, { args: [file = ''] }) => {
  const one = await take(context, await context.daemon(), file)
  context.output.result(one, (palette, columns) => recoveryLines(one, palette, columns), one.id)
  return undefined
}

async function take(context: CommandContext, client: ControlClient, file: string): Promise<RecoveryShown> {
  const bytes = file === '-' ? await context.terminal.readInput(MAX_TEXT_BYTES, context.signal) : await readText(resolve(context.cwd, file))
  return await client.call('POST /v1/recovery/take', { text: bytes.toString('utf8') })
}

async function readText(path: string): Promise<Buffer> {
  try {
    const bytes = await readFile(path)
    if (bytes.length > MAX_TEXT_BYTES) throw new KithError('RECOVERY_INVALID', 'The file is too long for a recovery.', { details: { path } })
    return bytes
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new KithError('RECOVERY_UNKNOWN', 'That is neither the id of a recovery nor a file.', { details: { path }, next: 'kith recovery status' })
  }
}
