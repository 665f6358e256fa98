import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import { openIdentity } from '../../../identity/keystore.ts'
import { cutShares } from '../../../vault/shares.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, homeView } from '../../passphrase.ts'
import { readShares } from '../../shares.ts'
import type { CommandHandler } from '../../spec.ts'
import { known } from './change.ts'

const DEFAULT_THRESHOLD = 3
const DEFAULT_SHARES = 5
const NOT_GENUINE_EXIT = 1

export const show: CommandHandler = async (context, { options }) => {
  const { terminal, output } = context
  if (context.json || !terminal.visible) {
    throw new KithError('USAGE', 'Shares are shown on a terminal only, never in JSON, a file or a pipe.', { next: 'kith id shares' })
  }
  const threshold = options.count('threshold') ?? DEFAULT_THRESHOLD
  const phrase = await ownPhrase(context, options)
  try {
    const { setId, shares } = await cutShares(phrase, { threshold, shares: options.count('shares') ?? DEFAULT_SHARES, random: systemRandom })
    output.note(`Set ${setId}: any ${threshold} of these ${shares.length} give the phrase back, fewer tell nothing. Write each on a paper of its own.`)
    for (const [i, share] of shares.entries()) {
      terminal.write(`\nshare ${i + 1} of ${shares.length}, set ${setId}, any ${threshold} restore\n`)
      share.use((bytes) => terminal.writeBytes(bytes))
      terminal.write('\n')
      share.wipe()
    }
  } finally {
    phrase.wipe()
  }
  return undefined
}

export const check: CommandHandler = async (context, { options }) => {
  const { did } = await known(context)
  const joined = await readShares(context)
  const phrase = await ownPhrase(context, options).catch((error: unknown) => {
    joined.wipe()
    throw error
  })
  const ok = phrase.equals(joined)
  phrase.wipe()
  joined.wipe()
  context.output.result({ ok, did }, (palette) =>
    ok ? `${palette.good('genuine')}  these shares give back ${did}` : `${palette.bad('another')}  these shares give back another identity than ${did}`,
  )
  return ok ? undefined : NOT_GENUINE_EXIT
}

async function ownPhrase(context: CommandContext, options: Options): Promise<Secret> {
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
  const passphrase = await findPassphrase(context, options)
  try {
    using identity = await openIdentity(home, { passphrase: passphrase.secret })
    const phrase = identity.phrase()
    if (phrase === undefined) throw new KithError('NOT_FOUND', 'This identity was not made from a phrase.', { next: 'kith id show' })
    return phrase
  } finally {
    passphrase.secret.wipe()
  }
}
