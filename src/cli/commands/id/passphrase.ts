import { KithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import { changePassphrase } from '../../../daemon/identity/change-passphrase.ts'
import { readPassphraseFile } from '../../../identity/passphrase.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { askNewPassphrase, findPassphrase } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { WITHOUT_PASSPHRASE } from '../init/handler.ts'

export const run: CommandHandler = async (context, { options }) => {
  const current = await findPassphrase(context, options)
  let next: Secret | undefined
  try {
    next = await newPassphrase(context, options)
    const summary = await changePassphrase(context.home, current.secret, next, { environment: { ...context.env } })
    if (next === undefined) context.output.note(WITHOUT_PASSPHRASE)
    context.output.result({ did: summary.did, passphrase: summary.passphrase }, (palette) => `${palette.good('changed')}  ${summary.did}`)
  } finally {
    current.secret.wipe()
    next?.wipe()
  }
  return undefined
}

/** `undefined` for none. */
async function newPassphrase(context: CommandContext, options: Options): Promise<Secret | undefined> {
  const file = options.text('new-passphrase-file')
  if (options.flag('no-passphrase')) {
    if (file !== undefined) throw new KithError('USAGE', '--no-passphrase and --new-passphrase-file exclude each other.', { next: 'kith id passphrase --help' })
    return undefined
  }
  if (file !== undefined) return readPassphraseFile(file)
  if (!context.terminal.interactive) {
    throw new KithError('PASSPHRASE_REQUIRED', 'The new passphrase is asked on a terminal, or read from --new-passphrase-file.', {
      next: 'kith id passphrase --help',
    })
  }
  const answer = await askNewPassphrase(context, 'New passphrase: ')
  if (answer === undefined) throw new KithError('PASSPHRASE_REQUIRED', 'To go without a passphrase, say so.', { next: 'kith id passphrase --no-passphrase' })
  return answer
}
