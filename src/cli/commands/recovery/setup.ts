import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import type { RecoveryPolicyShown, RecoverySetup } from '../../../daemon/control/routes/recovery-api.ts'
import { fixPolicy, policyFrom } from '../../../daemon/recovery/policy.ts'
import { type Did, isDid, parseDid } from '../../../identity/did.ts'
import type { RecoveryPolicy } from '../../../identity/types.ts'
import type { CommandHandler } from '../../spec.ts'
import { byNodeOrFiles } from '../id/by-node.ts'
import { setupLines } from './words.ts'

const DEFAULT_DELAY_MS = 3 * 86_400_000

export const run: CommandHandler = async (context, { args, options }) => {
  const threshold = options.count('threshold')
  if (threshold === undefined) throw new KithError('USAGE', '--threshold is missing: how many trustees must attest.', { next: 'kith recovery setup --help' })
  const override = options.count('override') ?? 0
  const delay_s = Math.round((options.durationMs('delay') ?? DEFAULT_DELAY_MS) / 1_000)
  const result = await byNodeOrFiles<RecoverySetup>(context, options, {
    node: (client, secret) => client.callWithSecret('POST /v1/recovery/setup', { trustees: args.join(','), threshold, override, delay_s }, secret),
    files: async (opened) => {
      const policy = policyFrom(opened.identity.did, { trustees: args.map(trusteeOf), threshold, override, delayS: delay_s })
      const { inForce, later } = await fixPolicy({ ...opened, options: { clock: systemClock, ...opened.options } }, policy)
      return {
        did: opened.device.did,
        in_force: inForce === undefined ? null : shownPolicy(inForce),
        later:
          later === undefined ? null : { policy: later.policy === undefined ? null : shownPolicy(later.policy), from: new Date(later.fromMs).toISOString() },
      }
    },
  })
  context.output.result(result, (palette) => [
    `${palette.good('fixed')}  who may give this identity back; it stands in its history`,
    ...setupLines(result, palette),
    palette.quiet('Tell your trustees that they are, and that they speak with you before they attest anything.'),
    palette.quiet('Whoever has your phrase does not need them; whoever has only your present keys cannot change them.'),
  ])
  return undefined
}

function trusteeOf(word: string): Did {
  if (!isDid(word)) throw new KithError('USAGE', 'While no node runs, trustees are named by their DIDs.', { next: 'kith up' })
  return parseDid(word)
}

function shownPolicy({ threshold, override, delayS, trustees }: RecoveryPolicy): RecoveryPolicyShown {
  return { threshold, override, delay_s: delayS, trustees: trustees.map((did) => ({ did, name: null })) }
}
