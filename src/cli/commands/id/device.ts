import { isKithError } from '../../../core/errors.ts'
import type { Secret } from '../../../core/secret.ts'
import type { IdentitySummary } from '../../../daemon/identity/describe.ts'
import { loadSummary } from '../../../daemon/identity/describe.ts'
import { changeDevice } from '../../../daemon/identity/offline.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, passphraseForDaemon } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, table } from '../../style.ts'

export const unlock: CommandHandler = async (context, { options }) => {
  const client = await context.daemon()
  await client.call('GET /v1/health', {})
  const passphrase = await passphraseForDaemon(context, options, false)
  try {
    const result = await client.callWithSecret('POST /v1/identity/unlock', {}, passphrase)
    context.output.result(
      result,
      (palette) => [`${palette.good('unlocked')}  ${result.did}`, palette.quiet(`listens on ${result.listen.join('  ')}`)],
      result.did,
    )
  } finally {
    passphrase?.wipe()
  }
  return undefined
}

export const list: CommandHandler = async (context) => {
  const summary = await known(context)
  const devices = [{ name: summary.name, link_key: summary.link_key, serial: summary.serial, expires_at: summary.binding_expires_at, self: true }]
  context.output.result(
    { devices },
    (palette) =>
      table([
        ['machine', 'link key', 'valid until', ''].map((text) => ({ text, style: palette.quiet })),
        ...devices.map((device) => [
          { text: harmless(device.name), style: palette.strong },
          device.link_key,
          device.expires_at.slice(0, 10),
          device.self ? 'this one' : '',
        ]),
      ]),
    devices.map(({ link_key }) => link_key).join('\n'),
  )
  return undefined
}

export const rotate: CommandHandler = async (context, { options }) => {
  const before = await known(context)
  const after = await change(context, options, before, 'rotate')
  const result = { did: after.did, link_key: after.link_key, previous_link_key: before.link_key, serial: after.serial, expires_at: after.binding_expires_at }
  context.output.result(
    result,
    (palette) => [`${palette.good('rotated')}  this machine's link key is ${after.link_key} now`, palette.quiet('peers find it again by themselves')],
    after.link_key,
  )
  return undefined
}

export const renew: CommandHandler = async (context, { options }) => {
  const after = await change(context, options, await known(context), 'renew')
  const result = { did: after.did, link_key: after.link_key, serial: after.serial, expires_at: after.binding_expires_at }
  context.output.result(result, (palette) => `${palette.good('renewed')}  valid until ${after.binding_expires_at.slice(0, 10)}`, after.binding_expires_at)
  return undefined
}

/** By the running node, else on the files. */
async function change(context: CommandContext, options: Options, before: IdentitySummary, what: 'rotate' | 'renew'): Promise<IdentitySummary> {
  const client = await context.daemon()
  let given: Secret | undefined
  try {
    await client.call('GET /v1/health', {})
    given = await passphraseForDaemon(context, options, before.passphrase === 'stored')
    return await client.callWithSecret(`POST /v1/identity/${what}`, {}, given)
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  } finally {
    given?.wipe()
  }
  const passphrase = await findPassphrase(context, options)
  try {
    return await changeDevice(context.home, passphrase, what)
  } finally {
    passphrase.secret.wipe()
  }
}

async function known(context: CommandContext): Promise<IdentitySummary> {
  const summary = await loadSummary(context.home)
  return summary ?? (await (await context.daemon()).call('GET /v1/identity', {})).summary
}
