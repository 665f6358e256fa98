import { KithError } from '../../../core/errors.ts'
import type { IdentitySummary } from '../../../daemon/identity/describe.ts'
import { ROTATION_REASONS, type RotationReason } from '../../../daemon/identity/rotate.ts'
import { loadTokenNotes } from '../../../identity/hardware/notes.ts'
import type { CommandHandler } from '../../spec.ts'
import { change, known } from './change.ts'

export const run: CommandHandler = async (context, { options }) => {
  const reason = reasonOf(options.text('reason'))
  const before = await known(context)
  const wasInToken = await inToken(context.home, before)
  const after = await change(context, options, before, { rotateIdentity: reason })
  const result = { did: after.did, reason, chain: after.chain, previous_index: before.chain.index, expires_at: after.binding_expires_at }
  context.output.result(result, (palette) => [
    `${palette.good('rotated')}  the identity is at entry ${after.chain.index} of its chain; the DID stays ${after.did}`,
    palette.quiet('peers learn it when they next connect; the recovery phrase is the same as before'),
  ])
  const isInToken = await inToken(context.home, after)
  if (isInToken && !wasInToken) context.output.note('The key that signs is in the token now.')
  if (wasInToken && !isInToken) {
    context.output.note(
      `The key in the token is retired: the one that signs is in the key file now. The way back into a token:\n  ${context.command('kith id hardware commit --help')}`,
    )
  }
  return undefined
}

async function inToken(home: string, { chain }: IdentitySummary): Promise<boolean> {
  return (await loadTokenNotes(home)).some(({ generation }) => generation === chain.index)
}

function reasonOf(text = 'scheduled'): RotationReason {
  const reason = ROTATION_REASONS.find((known) => known === text)
  if (reason === undefined) throw new KithError('USAGE', `--reason takes ${ROTATION_REASONS.join(', ')}.`, { next: 'kith id rotate --help' })
  return reason
}
