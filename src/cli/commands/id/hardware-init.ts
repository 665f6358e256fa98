import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import { addressOf } from '../../../daemon/identity/hardware.ts'
import { setUpIdentity } from '../../../daemon/identity/setup.ts'
import { openHome } from '../../../identity/home.ts'
import { hasIdentity } from '../../../identity/keystore.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'
import { findTokens } from '../../tokens.ts'
import { newPassphrase, type Remark, remarks, tellPhrase, tellRemarks, WORD_COUNTS } from '../init/handler.ts'

const KEEP_A_COPY: Remark = [
  'The phrase does not hold the key in the token. For the day the token is lost, keep a copy of the identity too:',
  'kith id export FILE',
]

export const run: CommandHandler = async (context, { options }) => {
  const pkcs11 = options.text('pkcs11')
  if (pkcs11 === undefined) throw new KithError('USAGE', 'Say which token: --pkcs11 URI.', { next: 'kith id hardware init --help' })
  const words = options.count('words')
  if (words !== undefined && !WORD_COUNTS.includes(words)) {
    throw new KithError('USAGE', '--words takes 12, 15, 18, 21 or 24.', { next: 'kith id hardware init --help' })
  }
  const uri = addressOf(pkcs11, options.text('module'))
  const tokens = await findTokens(context, options, true)
  await using home = await openHome(context.home, { tokens })
  if (await hasIdentity(home)) {
    throw new KithError('IDENTITY_EXISTS', 'This home has an identity already; it moves into hardware by two rotations.', {
      next: 'kith id hardware commit --help',
    })
  }
  const name = options.text('name')
  const passphrase = await newPassphrase(context, options)
  try {
    const { key, made } = tokens.ensure(uri)
    const { summary, phrase } = await setUpIdentity({
      home,
      clock: systemClock,
      random: systemRandom,
      environment: { ...context.env },
      token: key,
      ...(passphrase === undefined ? {} : { passphrase }),
      ...(name === undefined ? {} : { name }),
      ...(words === undefined ? {} : { words }),
    })
    const shown = tellPhrase(context, phrase)
    phrase.wipe()
    context.output.result(
      { did: summary.did, name: summary.name, home: context.home, created: true, uri: key.uri, made },
      (palette) => [
        `${palette.good('made')} ${palette.strong(harmless(summary.name))}  ${summary.did}`,
        palette.quiet(`its key is ${made ? 'made' : 'found'} in the token: ${key.uri}`),
        palette.quiet(`home: ${context.home}`),
      ],
      summary.did,
    )
    tellRemarks(context, [...remarks(shown, passphrase), KEEP_A_COPY])
    context.output.note(`next: ${context.command('kith up')}`)
  } finally {
    passphrase?.wipe()
  }
  return undefined
}
