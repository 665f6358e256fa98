import { systemClock } from '../../../core/clock.ts'
import { KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import { parseCapabilities } from '../../../daemon/control/routes/devices.ts'
import { askToJoin, join } from '../../../daemon/devices/offline.ts'
import { hasPending } from '../../../identity/device-home.ts'
import { readDeviceRequest, requestCode } from '../../../identity/device-request.ts'
import { deviceText, readDeviceText } from '../../../identity/device-text.ts'
import { type Home, openHome } from '../../../identity/home.ts'
import { keepStatePassphrase, type Passphrase } from '../../../identity/passphrase.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'
import { newPassphrase, WITHOUT_PASSPHRASE } from '../init/handler.ts'
import { giveText, readText } from './devices-text.ts'

export const add: CommandHandler = async (context, { options }) => {
  const grant = options.text('grant')
  if (grant !== undefined) return await take(context, options, grant)
  const capabilities = parseCapabilities(options.text('capabilities'))
  await using home = await openHome(context.home)
  const passphrase = (await hasPending(home)) ? await findPassphrase(context, options) : await freshPassphrase(context, options, home)
  try {
    const name = options.text('name')
    const encoded = await askToJoin(home, passphrase, { capabilities, ...(name === undefined ? {} : { name }) })
    const request = readDeviceRequest(encoded, systemClock.now())
    const code = requestCode(request)
    const lines = deviceText('request', encoded)
    await giveText(context, options, 'request', lines, { request: lines, code, name: request.name }, [
      `words to compare there: ${code}`,
      `on the machine with the identity:\n  kith id device approve FILE\nthen here:\n  ${context.command('kith id device add --grant FILE')}`,
    ])
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}

async function take(context: CommandContext, options: Options, source: string): Promise<undefined> {
  const grant = readDeviceText('grant', await readText(context, 'grant', source))
  await using home = await openHome(context.home, { create: false })
  if (!(await hasPending(home)))
    throw new KithError('NOT_FOUND', 'No request waits in this home; a grant answers one.', { next: 'kith id device add --name NAME' })
  const passphrase = await findPassphrase(context, options)
  try {
    const { did, name, link_key, binding_expires_at: expires_at } = await join(home, passphrase, grant)
    context.output.result(
      { did, name, link_key, expires_at },
      (palette) => [
        `${palette.good('joined')}  ${palette.strong(harmless(name))} is a machine of ${did}`,
        palette.quiet(`certified until ${expires_at.slice(0, 10)}`),
      ],
      did,
    )
    context.output.note(`next: ${context.command('kith up')}`)
  } finally {
    passphrase.secret.wipe()
  }
  return undefined
}

/** As `kith init` asks for one; a random one is kept outside the home where nobody gives any. */
async function freshPassphrase(context: CommandContext, options: Options, home: Home): Promise<Passphrase> {
  const secret = await newPassphrase(context, options)
  if (secret !== undefined) return { secret, source: 'given' }
  context.output.note(WITHOUT_PASSPHRASE)
  return await keepStatePassphrase(home, systemRandom, { ...context.env })
}
