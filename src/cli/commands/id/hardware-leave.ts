import { systemClock } from '../../../core/clock.ts'
import { systemRandom } from '../../../core/random.ts'
import { loadSummary, saveSummary } from '../../../daemon/identity/describe.ts'
import { leaveToken } from '../../../daemon/identity/leave-token.ts'
import { modeOf, workFactorFor } from '../../../daemon/identity/protection.ts'
import { machineName } from '../../../daemon/identity/setup.ts'
import { openHome } from '../../../identity/home.ts'
import { findPassphrase } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'

export const run: CommandHandler = async (context, { options }) => {
  await using home = await openHome(context.home, { create: false })
  const passphrase = await findPassphrase(context, options)
  try {
    const name = machineName((await loadSummary(context.home))?.name)
    const mode = modeOf(passphrase)
    const summary = await leaveToken(home, {
      passphrase: passphrase.secret,
      clock: systemClock,
      random: systemRandom,
      mode,
      name,
      ...workFactorFor(passphrase),
    })
    await saveSummary(context.home, summary)
    context.output.result(
      { did: summary.did, chain: summary.chain },
      (palette) => `${palette.good('left')}  the identity is at entry ${summary.chain.index} of its chain, without the token; the DID stays ${summary.did}`,
    )
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}
