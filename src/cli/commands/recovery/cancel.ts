import { isKithError, KithError } from '../../../core/errors.ts'
import type { IdentitySummary } from '../../../daemon/identity/describe.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { passphraseForDaemon } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { change, known } from '../id/change.ts'
import { recoveryLines } from './words.ts'

export const run: CommandHandler = async (context, { args: [id], options }) => {
  const before = await known(context)
  if (id === undefined) {
    await somebodyAsks(context)
    return await stop(context, options, before)
  }
  const client = await context.daemon()
  if ((await client.call('POST /v1/recovery/show', { id })).role === 'owner') return await stop(context, options, before)
  const secret = await passphraseForDaemon(context, options, before.passphrase === 'stored')
  try {
    const one = await client.callWithSecret('POST /v1/recovery/cancel', { id }, secret)
    const missing = one.policy.threshold - one.cancelled_by.length
    context.output.result(
      one,
      (palette, columns) => [
        one.stage === 'cancelled' ? palette.good('ended') : palette.warn(`said; it ends when ${missing} more of its trustees say so`),
        ...recoveryLines(one, palette, columns),
      ],
      one.id,
    )
  } finally {
    secret?.wipe()
  }
  return undefined
}

/** New keys that nobody needed are a history that grew for nothing. Without a node nobody here can know. */
async function somebodyAsks(context: CommandContext): Promise<void> {
  try {
    const { recoveries } = await (await context.daemon()).call('GET /v1/recovery', {})
    if (recoveries.some(({ role, stage }) => role === 'owner' && (stage === 'collecting' || stage === 'waiting'))) return
  } catch (error) {
    if (isKithError(error, 'DAEMON_NOT_RUNNING')) return
    throw error
  }
  throw new KithError('RECOVERY_UNKNOWN', 'Nobody asks for this identity: there is nothing to stop.', { next: 'kith id rotate' })
}

/** The owner's way: the keys committed to before, which nobody else has. */
async function stop(context: CommandContext, options: Options, before: IdentitySummary): Promise<undefined> {
  const after = await change(context, options, before, { rotateIdentity: 'scheduled' })
  const result = { did: after.did, reason: 'scheduled', chain: after.chain, previous_index: before.chain.index, expires_at: after.binding_expires_at }
  context.output.result(result, (palette) => [
    `${palette.good('stopped')}  the identity has new keys of its own, entry ${after.chain.index}; every recovery of it is over`,
    palette.quiet('peers learn it at once where they are linked; trustees who attested were fooled, or you asked them yourself: speak with them'),
  ])
  return undefined
}
