import { KithError } from '../../../core/errors.ts'
import { ROTATION_REASONS, type RotationReason } from '../../../daemon/identity/rotate.ts'
import type { CommandHandler } from '../../spec.ts'
import { change, known } from './change.ts'

export const run: CommandHandler = async (context, { options }) => {
  const reason = reasonOf(options.text('reason'))
  const before = await known(context)
  const after = await change(context, options, before, { rotateIdentity: reason })
  const result = { did: after.did, reason, chain: after.chain, previous_index: before.chain.index, expires_at: after.binding_expires_at }
  context.output.result(result, (palette) => [
    `${palette.good('rotated')}  the identity is at entry ${after.chain.index} of its chain; the DID stays ${after.did}`,
    palette.quiet('peers learn it when they next connect; the recovery phrase is the same as before'),
  ])
  return undefined
}

function reasonOf(text = 'scheduled'): RotationReason {
  const reason = ROTATION_REASONS.find((known) => known === text)
  if (reason === undefined) throw new KithError('USAGE', `--reason takes ${ROTATION_REASONS.join(', ')}.`, { next: 'kith id rotate --help' })
  return reason
}
