import { passphraseForDaemon } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, table } from '../../style.ts'
import { change, known } from './change.ts'

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
