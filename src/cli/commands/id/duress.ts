import { KithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import { type DuressParts, isDuressSet, removeDuress, setDuress } from '../../../daemon/identity/duress.ts'
import { withHomeIdentity } from '../../../daemon/identity/rotation-right.ts'
import type { OpenedIdentity } from '../../../daemon/identity/service.ts'
import { readPassphraseFile } from '../../../identity/passphrase.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { askNewPassphrase, findPassphrase } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'

export const status: CommandHandler = (context, { options }) => act(context, options, async () => {})

export const remove: CommandHandler = (context, { options }) => act(context, options, removeDuress)

export const set: CommandHandler = (context, { options }) =>
  act(context, options, async (parts) => {
    const second = await secondPassphrase(context, options)
    try {
      await setDuress(parts, second, options.text('run'))
    } finally {
      second.wipe()
    }
  })

async function act(context: CommandContext, options: Options, work: (parts: DuressParts) => Promise<void>): Promise<undefined> {
  const passphrase = await findPassphrase(context, options)
  try {
    if (!['file', 'environment', 'credential', 'prompt'].includes(passphrase.source)) {
      throw new KithError('USAGE', 'This home opens without anybody giving a passphrase; a second one would protect nothing.', { next: 'kith id passphrase' })
    }
    const result = await withHomeIdentity(context.home, passphrase, async (opened) => {
      await work(partsOf(opened))
      return { did: opened.identity.did, set: await isDuressSet(opened) }
    })
    context.output.result(result, (palette) =>
      result.set ? `${palette.good('set')}  a second passphrase opens another identity` : palette.quiet('no second passphrase'),
    )
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}

function partsOf({ home, device, options: { clock, random } }: OpenedIdentity): DuressParts {
  if (clock === undefined) throw new TypeError('a clock')
  return { home, device, clock, random }
}

async function secondPassphrase(context: CommandContext, options: Options): Promise<Secret> {
  const file = options.text('second-passphrase-file')
  if (file !== undefined) return readPassphraseFile(file)
  const answer = context.terminal.interactive ? await askNewPassphrase(context, 'Second passphrase: ') : undefined
  if (answer !== undefined) return answer
  throw new KithError('PASSPHRASE_REQUIRED', 'The second passphrase is asked on a terminal, or read from --second-passphrase-file.', {
    next: 'kith id duress set --help',
  })
}
