import { KithError } from '../../../core/errors.ts'
import { openIdentity } from '../../../identity/keystore.ts'
import { findPassphrase, homeView } from '../../passphrase.ts'
import { showPhrase } from '../../phrase.ts'
import type { CommandHandler } from '../../spec.ts'

/** Reads the identity's file without the home's lock: saves are atomic, so it also works beside the running node. */
export const run: CommandHandler = async (context, { options }) => {
  const { terminal, output } = context
  if (context.json || !terminal.visible) {
    throw new KithError('USAGE', 'The recovery phrase is shown on a terminal only, never in JSON, a file or a pipe.', { next: 'kith id phrase' })
  }
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
  const passphrase = await findPassphrase(context, options)
  try {
    using identity = await openIdentity(home, { passphrase: passphrase.secret })
    const phrase = identity.phrase()
    if (phrase === undefined) throw new KithError('NOT_FOUND', 'This identity was not made from a phrase.', { next: 'kith id show' })
    output.note('Whoever sees these words has this identity.')
    showPhrase(phrase, terminal)
    phrase.wipe()
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}
