import { isKithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import { withHomeIdentity } from '../../../daemon/identity/rotation-right.ts'
import type { OpenedIdentity } from '../../../daemon/identity/service.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, passphraseForDaemon } from '../../passphrase.ts'
import { known } from './change.ts'

/** Work on the identity: by the running node, else on the files. */
export async function byNodeOrFiles<T>(
  context: CommandContext,
  options: Options,
  work: { node: (client: ControlClient, passphrase: Secret | undefined) => Promise<T>; files: (opened: OpenedIdentity) => Promise<T> },
): Promise<T> {
  const client = await context.daemon()
  let given: Secret | undefined
  try {
    await client.call('GET /v1/health', {})
    given = await passphraseForDaemon(context, options, (await known(context)).passphrase === 'stored')
    return await work.node(client, given)
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  } finally {
    given?.wipe()
  }
  const passphrase = await findPassphrase(context, options)
  try {
    return await withHomeIdentity(context.home, passphrase, work.files)
  } finally {
    passphrase.secret.wipe()
  }
}
