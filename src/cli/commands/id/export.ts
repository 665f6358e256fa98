import { toHex } from '../../../core/bytes.ts'
import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import { exportIdentity } from '../../../daemon/identity/transfer.ts'
import { openIdentity } from '../../../identity/keystore.ts'
import { readPassphraseFile } from '../../../identity/passphrase.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { askNewPassphrase, findPassphrase, homeView } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'

/** Reads the identity's file without the home's lock: saves are atomic, so it also works beside the running node. */
export const run: CommandHandler = async (context, { args, options }) => {
  const path = args[0] ?? ''
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
  const current = await findPassphrase(context, options)
  let passphrase: Secret | undefined
  try {
    using identity = await openIdentity(home, { passphrase: current.secret })
    passphrase = await filePassphrase(context, options)
    await exportIdentity(identity, path, { random: systemRandom, ...(passphrase === undefined ? {} : { passphrase }) })
    const chain = { index: identity.chain.index, head: toHex(identity.chain.head) }
    context.output.result({ did: identity.did, file: path, chain }, (palette) => `${palette.good('exported')}  ${identity.did} to ${path}`, path)
    if (identity.hardware) context.output.note('The Ed25519 key stays in its token: the file names the token and holds the other half.')
  } finally {
    current.secret.wipe()
    passphrase?.wipe()
  }
  return undefined
}

/** `undefined`: the recovery phrase opens the file. */
async function filePassphrase(context: CommandContext, options: Options): Promise<Secret | undefined> {
  const file = options.text('file-passphrase-file')
  if (options.flag('with-phrase')) {
    if (file !== undefined) throw new KithError('USAGE', '--with-phrase and --file-passphrase-file exclude each other.', { next: 'kith id export --help' })
    return undefined
  }
  if (file !== undefined) return readPassphraseFile(file)
  if (context.terminal.interactive) {
    const answer = await askNewPassphrase(context, 'Passphrase for the file: ')
    if (answer !== undefined) return answer
  }
  throw new KithError('PASSPHRASE_REQUIRED', 'The file is sealed by a passphrase of its own, or by the recovery phrase.', {
    next: 'kith id export FILE --file-passphrase-file FILE (or --with-phrase)',
  })
}
