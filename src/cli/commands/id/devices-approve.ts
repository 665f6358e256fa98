import { systemClock } from '../../../core/clock.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import { parseCapabilities } from '../../../daemon/control/routes/devices.ts'
import * as offline from '../../../daemon/devices/offline.ts'
import { type RequestView, viewRequest } from '../../../daemon/devices/views.ts'
import { capabilityNames } from '../../../identity/device-capabilities.ts'
import { REVOCATION_REASONS, type RevocationReason } from '../../../identity/device-document.ts'
import { readDeviceRequest } from '../../../identity/device-request.ts'
import { deviceText, readDeviceText } from '../../../identity/device-text.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, passphraseForDaemon } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'
import { known } from './change.ts'
import { giveText, readText } from './devices-text.ts'

export const approve: CommandHandler = async (context, { args, options }) => {
  if (options.flag('renewals')) return await approveRenewals(context, options)
  const [source] = args
  if (source === undefined)
    throw new KithError('USAGE', 'Which request? A file, - for standard input, or --renewals.', { next: 'kith id device approve --help' })
  const text = await readText(context, 'request', source)
  const request = readDeviceRequest(readDeviceText('request', text), systemClock.now())
  const view = viewRequest(request)
  const given = options.text('capabilities')
  const capabilities = given === undefined ? request.capabilities : parseCapabilities(given)
  const name = options.text('name')
  await agree(context, options, view, `may ${capabilityNames(capabilities).join(', ')}`)
  const grant = await byNodeOrFiles(
    context,
    options,
    async (client, passphrase) => {
      const { id } = await client.call('POST /v1/devices/show', { request: text })
      const wanted = { id, capabilities: capabilityNames(capabilities).join(','), ...(name === undefined ? {} : { name }) }
      return (await client.callWithSecret('POST /v1/devices/approve', wanted, passphrase)).grant
    },
    async (passphrase) =>
      deviceText('grant', await offline.approve(context.home, passphrase, request, { capabilities, ...(name === undefined ? {} : { name }) })),
  )
  const { link_key, code } = view
  const result = { grant, name: name ?? view.name, link_key, code, capabilities: capabilityNames(capabilities) }
  const next = view.renewal ? 'kith id device renew --grant FILE' : 'kith id device add --grant FILE'
  await giveText(context, options, 'grant', grant, result, [`on that machine:\n  ${next}`])
  return undefined
}

export const revoke: CommandHandler = async (context, { args, options }) => {
  const [target = ''] = args
  const reason = reasonOf(options.text('reason'))
  const { terminal, output, signal } = context
  if (!context.yes) {
    if (!terminal.interactive)
      throw new KithError('USAGE', 'A machine is revoked for good; say --yes where nobody can be asked.', { next: 'kith id device revoke --help' })
    if (!(await terminal.confirm(`Take ${harmless(target)} out of this identity for good?`, false, signal)))
      throw new KithError('ABORTED', 'Nothing was changed.')
  }
  const done = await byNodeOrFiles(
    context,
    options,
    (client, passphrase) => client.callWithSecret('POST /v1/devices/revoke', { device: target, reason }, passphrase),
    (passphrase) => offline.revoke(context.home, passphrase, target, reason),
  )
  output.result(
    { ...done, reason },
    (palette) => [
      `${palette.good('revoked')}  ${harmless(done.name)} ${done.link_key}`,
      palette.quiet('peers refuse it as soon as they hear of it; those that are away when they are back'),
    ],
    done.link_key,
  )
  return undefined
}

async function approveRenewals(context: CommandContext, options: Options): Promise<undefined> {
  const client = await context.daemon()
  await client.call('GET /v1/health', {})
  const passphrase = await passphraseForDaemon(context, options, (await known(context)).passphrase !== 'passphrase')
  try {
    const { renewed } = await client.callWithSecret('POST /v1/devices/approve-waiting', {}, passphrase)
    context.output.result(
      { renewed },
      (palette) => (renewed.length === 0 ? palette.quiet('no machine waits') : renewed.map((name) => `${palette.good('renewed')}  ${harmless(name)}`)),
      renewed.join('\n'),
    )
  } finally {
    passphrase?.wipe()
  }
  return undefined
}

/** Nobody approves what they have not compared. @throws KithError `DEVICE_REQUEST_INVALID` when the words differ, `ABORTED`, `USAGE`. */
async function agree(context: CommandContext, options: Options, view: RequestView, may: string): Promise<void> {
  const { terminal, output, signal } = context
  const said = options.text('code')
  if (said !== undefined) {
    if (said.trim().toLowerCase().split(/\s+/).join(' ') === view.code) return
    throw new KithError('DEVICE_REQUEST_INVALID', 'These are not the words of this request: it may have been exchanged on its way.', {
      details: { reason: 'other words' },
    })
  }
  output.note(
    `${harmless(view.name)} (${view.link_key.slice(0, 16)}…) asks ${view.renewal ? 'for a new binding' : 'to belong to this identity'}; it ${may}.\nwords: ${view.code}`,
  )
  if (context.yes) return
  if (!terminal.interactive) throw new KithError('USAGE', 'Say the words that the other machine shows with --code.', { next: 'kith id device approve --help' })
  if (!(await terminal.confirm('Does the other machine show the same words?', false, signal))) throw new KithError('ABORTED', 'Nothing was signed.')
}

/** By the running node, else on the files. */
async function byNodeOrFiles<T>(
  context: CommandContext,
  options: Options,
  byNode: (client: ControlClient, passphrase: Awaited<ReturnType<typeof passphraseForDaemon>>) => Promise<T>,
  onFiles: (passphrase: Awaited<ReturnType<typeof findPassphrase>>['secret']) => Promise<T>,
): Promise<T> {
  const client = await context.daemon()
  try {
    await client.call('GET /v1/health', {})
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
    const passphrase = await findPassphrase(context, options)
    try {
      return await onFiles(passphrase.secret)
    } finally {
      passphrase.secret.wipe()
    }
  }
  const passphrase = await passphraseForDaemon(context, options, (await known(context)).passphrase !== 'passphrase')
  try {
    return await byNode(client, passphrase)
  } finally {
    passphrase?.wipe()
  }
}

function reasonOf(text = 'removed'): RevocationReason {
  const reason = REVOCATION_REASONS.find((one) => one === text)
  if (reason === undefined) throw new KithError('USAGE', `--reason takes ${REVOCATION_REASONS.join(', ')}.`, { next: 'kith id device revoke --help' })
  return reason
}
