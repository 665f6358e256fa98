import type { IdentitySummary } from '../../../daemon/identity/describe.ts'
import { isDeviceOnly } from '../../../identity/device-home.ts'
import { homePaths } from '../../../identity/home.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import type { CommandHandler } from '../../spec.ts'
import { change, known } from './change.ts'
import { giveText, readText } from './devices-text.ts'

export const renew: CommandHandler = async (context, { options }) => {
  const file = options.text('request')
  if (file !== undefined) return await ask(context, options, file)
  const after = await renewed(context, options)
  const result = { did: after.did, link_key: after.link_key, serial: after.serial, expires_at: after.binding_expires_at }
  context.output.result(result, (palette) => `${palette.good('renewed')}  valid until ${after.binding_expires_at.slice(0, 10)}`, after.binding_expires_at)
  return undefined
}

async function renewed(context: CommandContext, options: Options): Promise<IdentitySummary> {
  const grant = options.text('grant')
  if (grant !== undefined) return await (await context.daemon()).call('POST /v1/devices/take-renewal', { grant: await readText(context, 'grant', grant) })
  if (await isDeviceOnly({ paths: homePaths(context.home) })) return await (await context.daemon()).call('POST /v1/devices/renew', {})
  return await change(context, options, await known(context), 'renew')
}

async function ask(context: CommandContext, options: Options, file: string): Promise<undefined> {
  const { request, code } = await (await context.daemon()).call('POST /v1/devices/renewal-request', {})
  await giveText(context, options, 'request', request, { request: file, code }, [`words to compare there: ${code}`], file)
  return undefined
}
