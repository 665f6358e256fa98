import { resolve } from 'node:path'
import { isKithError, KithError } from '../../../core/errors.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import { exportTreasury, makeTreasuryOffline, type TreasuryView, viewTreasuriesOffline } from '../../../daemon/credentials/treasury.ts'
import type { Passphrase } from '../../../identity/passphrase.ts'
import type { CommandContext } from '../../context.ts'
import { localTime } from '../../format.ts'
import type { Options } from '../../options.ts'
import { findPassphrase } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { table } from '../../style.ts'

export const create: CommandHandler = async (context, { args, options }) => {
  const name = args[0] ?? ''
  const view = await either(
    context,
    options,
    (client) => client.call('POST /v1/treasury/create', { name }),
    (passphrase) => makeTreasuryOffline(context.home, passphrase, name),
  )
  context.output.result(view, (palette) => `${palette.good('made')}  ${palette.strong(view.name)}  ${view.did}`, view.did)
  context.output.note(`The recovery phrase does not bring this key back; a backup does:\n  ${context.command('kith backup FILE')}`)
  return undefined
}

export const list: CommandHandler = async (context, { options }) => {
  const treasuries: readonly TreasuryView[] = await either(
    context,
    options,
    async (client) => (await client.call('GET /v1/treasury', {})).treasuries,
    (passphrase) => viewTreasuriesOffline(context.home, passphrase),
  )
  context.output.result(
    { treasuries },
    (palette, columns) =>
      treasuries.length === 0
        ? palette.quiet('none yet')
        : table(
            treasuries.map(({ name, did, created_at }) => [{ text: name, style: palette.strong }, did, { text: localTime(created_at), style: palette.quiet }]),
            { columns, spare: [1] },
          ),
    treasuries.map(({ did }) => did).join('\n') || undefined,
  )
  return undefined
}

export const exportKey: CommandHandler = async (context, { args, options }) => {
  const name = args[0] ?? ''
  const out = options.text('out')
  if (!options.flag('i-understand-the-risks')) {
    throw new KithError('USAGE', 'Whoever has the private key of a treasury spends what it has. Say --i-understand-the-risks to export it.', {
      next: 'kith vault treasury export --help',
    })
  }
  if (out === undefined) throw new KithError('USAGE', 'The key goes to a file: --out FILE.', { next: 'kith vault treasury export --help' })
  const passphrase = await findPassphrase(context, options)
  try {
    await exportTreasury(context.home, passphrase, name, resolve(context.cwd, out))
  } catch (error) {
    if (!isKithError(error, 'HOME_IN_USE')) throw error
    throw new KithError('HOME_IN_USE', 'A running node gives no treasury key out, to anybody; stop it first.', {
      details: error.details,
      next: 'kith down',
      cause: error,
    })
  } finally {
    passphrase.secret.wipe()
  }
  context.output.result({ name, out }, (palette) => `${palette.warn('exported')}  the private key of ${name} is in ${out}`, out)
  return undefined
}

/** Asks the running node, else works on the files after the passphrase. */
async function either<T>(
  context: CommandContext,
  options: Options,
  online: (client: ControlClient) => Promise<T>,
  offline: (passphrase: Passphrase) => Promise<T>,
): Promise<T> {
  try {
    return await online(await context.daemon())
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  }
  const passphrase = await findPassphrase(context, options)
  try {
    return await offline(passphrase)
  } finally {
    passphrase.secret.wipe()
  }
}
