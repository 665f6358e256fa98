import { isKithError, KithError } from '../../../core/errors.ts'
import type { Runtime } from '../../../daemon/runtime.ts'
import type { CommandContext } from '../../context.ts'

const TRIES = 3

/** A person at the terminal of a locked node is asked for the passphrase, three times at most; without one the node stays degraded. */
export async function offerPassphrase(context: CommandContext, runtime: Runtime): Promise<void> {
  const { terminal, signal, output } = context
  if (!terminal.interactive || context.yes) return
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const error = runtime.supervisor.errorOf('identity')
    const sealed = isKithError(error) && error.code.startsWith('SEAL_')
    if (sealed && attempt === 0) output.note(error.message)
    if (!sealed && !isKithError(error, 'IDENTITY_LOCKED') && !(attempt > 0 && isKithError(error, 'PASSPHRASE_WRONG'))) return
    const passphrase = await terminal.askSecret('Passphrase: ', signal)
    if (passphrase === undefined) return
    runtime.identity.give(passphrase)
    passphrase.wipe()
    await runtime.supervisor.retry('identity')
    if (isKithError(runtime.supervisor.errorOf('identity'), 'PASSPHRASE_WRONG')) output.note(new KithError('PASSPHRASE_WRONG').message)
  }
}
