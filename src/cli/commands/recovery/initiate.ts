import { isKithError, KithError } from '../../../core/errors.ts'
import { loadRecoveryKeys } from '../../../daemon/recovery/key-file.ts'
import { parseDid } from '../../../identity/did.ts'
import { findPassphrase, homeView, passphraseForDaemon } from '../../passphrase.ts'
import { showPhrase } from '../../phrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { known } from '../id/change.ts'
import { initialise } from '../init/handler.ts'
import { recoveryLines } from './words.ts'

export const run: CommandHandler = async (context, { args: [word = ''], options }) => {
  const did = parseDid(word)
  const { output, command } = context
  const client = await context.daemon()
  try {
    await client.call('GET /v1/health', {})
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
    const { result } = await initialise(context, options)
    if (result.did === did) throw new KithError('USAGE', 'This home has that identity: there is nothing to recover.', { next: 'kith id show' })
    output.result({ did, throw_away: result.did, initiated: false }, (palette) => [
      `${palette.good('ready')}  this home has a throw-away identity for its links, ${result.did}`,
      'Nothing was asked yet: start the node, pair with a trustee, whose ticket comes by a way you both trust, and run this again.',
    ])
    for (const step of ['kith up --detach', 'kith join TICKET', `kith recovery initiate ${did}`]) output.note(`next: ${command(step)}`)
    return undefined
  }
  const secret = await passphraseForDaemon(context, options, (await known(context)).passphrase === 'stored')
  try {
    const one = await client.callWithSecret('POST /v1/recovery/initiate', { did }, secret)
    output.result(
      one,
      (palette, columns) => [
        `${palette.good('asked')}  call each trustee and read these four words: ${palette.strong(one.words ?? '')}`,
        ...recoveryLines(one, palette, columns),
      ],
      one.id,
    )
    output.note(`The new phrase, to be written down:\n  ${command('kith recovery phrase')}`)
    output.note(`For a trustee who is not linked:\n  ${command(`kith recovery export ${one.id.slice(0, 8)}`)}`)
  } finally {
    secret?.wipe()
  }
  return undefined
}

export const finalize: CommandHandler = async (context, { options }) => {
  const client = await context.daemon()
  await client.call('GET /v1/health', {})
  const secret = await passphraseForDaemon(context, options, (await known(context)).passphrase === 'stored')
  try {
    const result = await client.callWithSecret('POST /v1/recovery/finalize', {}, secret)
    context.output.result(
      result,
      (palette) => [
        `${palette.good('recovered')}  this home is one of ${result.did} now; its old keys are refused everywhere`,
        palette.quiet(`name your trustees anew when one of them is not one any more: ${context.command('kith recovery setup TRUSTEE TRUSTEE TRUSTEE')}`),
      ],
      result.did,
    )
    context.output.note(`The phrase of this identity is the new one:\n  ${context.command('kith id phrase')}`)
  } finally {
    secret?.wipe()
  }
  return undefined
}

export const phrase: CommandHandler = async (context, { options }) => {
  const { terminal, output } = context
  if (context.json || !terminal.visible) {
    throw new KithError('USAGE', 'The recovery phrase is shown on a terminal only, never in JSON, a file or a pipe.', { next: 'kith recovery phrase' })
  }
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith recovery initiate DID' })
  const passphrase = await findPassphrase(context, options)
  try {
    const keys = await loadRecoveryKeys(home, passphrase.secret)
    if (keys === undefined) throw new KithError('RECOVERY_UNKNOWN', 'This home recovers no identity.', { next: 'kith recovery initiate DID' })
    output.note(`Whoever sees these words has ${keys.did} once it is recovered.`)
    showPhrase(keys.phrase, terminal)
    keys.phrase.wipe()
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}
