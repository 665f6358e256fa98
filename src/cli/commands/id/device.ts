import { passphraseForDaemon } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
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
