import { existsSync } from 'node:fs'
import { isKithError, KithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import { type IdentitySummary, loadSummary } from '../../../daemon/identity/describe.ts'
import { changeDevice, type KeyChange } from '../../../daemon/identity/offline.ts'
import { isUnattended } from '../../../daemon/identity/protection.ts'
import { homePaths } from '../../../identity/home.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, passphraseForDaemon } from '../../passphrase.ts'
import { findTokens, needsPin } from '../../tokens.ts'
import { withPin } from './hardware-pin.ts'

/** Changes the keys of this home: by the running node, else on the files. */
export async function change(context: CommandContext, options: Options, before: IdentitySummary, what: KeyChange): Promise<IdentitySummary> {
  const client = await context.daemon()
  let given: Secret | undefined
  try {
    await client.call('GET /v1/health', {})
    given = await passphraseForDaemon(context, options, isUnattended(before.passphrase))
    return await withPin(context, options, client, await needsPin(context, before), async () => await ask(client, what, given))
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  } finally {
    given?.wipe()
  }
  const passphrase = await findPassphrase(context, options)
  try {
    return await changeDevice(context.home, passphrase, what, await findTokens(context, options))
  } finally {
    passphrase.secret.wipe()
  }
}

async function ask(client: ControlClient, what: KeyChange, passphrase: Secret | undefined): Promise<IdentitySummary> {
  if (typeof what === 'object') return await client.callWithSecret('POST /v1/identity/rotate-identity', { reason: what.rotateIdentity }, passphrase)
  return await client.callWithSecret(`POST /v1/identity/${what}`, {}, passphrase)
}

/** What is known of the identity without its keys, or from the running node. @throws KithError `IDENTITY_MISSING` where there is neither. */
export async function known(context: CommandContext): Promise<IdentitySummary> {
  const summary = await loadSummary(context.home)
  if (summary !== undefined) return summary
  try {
    return (await (await context.daemon()).call('GET /v1/identity', {})).summary
  } catch (error) {
    const { identity, device } = homePaths(context.home)
    if (!isKithError(error, 'DAEMON_NOT_RUNNING') || existsSync(identity) || existsSync(device)) throw error
    throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init', cause: error })
  }
}
