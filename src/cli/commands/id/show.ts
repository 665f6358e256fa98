import { equal } from '../../../core/bytes.ts'
import { systemClock } from '../../../core/clock.ts'
import { isKithError } from '../../../core/errors.ts'
import type { IdentityView } from '../../../daemon/control/routes/identity-api.ts'
import { loadSummary } from '../../../daemon/identity/describe.ts'
import { modeOf, PROTECTIONS } from '../../../daemon/identity/protection.ts'
import { viewDevice } from '../../../daemon/identity/view.ts'
import { isDeviceOnly, readRoster } from '../../../identity/device-home.ts'
import { listedDevices } from '../../../identity/device-roster.ts'
import { loadTokenNotes } from '../../../identity/hardware/notes.ts'
import { homePaths, openHome } from '../../../identity/home.ts'
import { openDevice } from '../../../identity/keystore.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless, type Palette, table } from '../../style.ts'

export const show: CommandHandler = async (context, { options }) => {
  const summary = (await loadSummary(context.home)) ?? (await view(context, options)).summary
  const holds_identity = !(await isDeviceOnly({ paths: homePaths(context.home) }))
  const notes = await loadTokenNotes(context.home)
  const hardware = notes.find(({ generation }) => generation === summary.chain.index)?.uri ?? null
  const coming = notes.find(({ generation }) => generation === summary.chain.index + 1)
  const human = (palette: Palette): string[] =>
    table([
      [
        { text: 'did', style: palette.quiet },
        { text: summary.did, style: palette.strong },
      ],
      [{ text: 'name', style: palette.quiet }, harmless(summary.name)],
      [{ text: 'link key', style: palette.quiet }, summary.link_key],
      [{ text: 'key', style: palette.quiet }, hardware === null ? (holds_identity ? 'in the key file' : 'on another machine') : `in a token: ${hardware}`],
      ...(coming === undefined ? [] : [[{ text: 'next key', style: palette.quiet }, `in a token: ${coming.uri}`]]),
      [{ text: 'chain', style: palette.quiet }, `entry ${summary.chain.index}, ${summary.chain.head.slice(0, 16)}`],
      [
        { text: 'valid until', style: palette.quiet },
        `${summary.binding_expires_at.slice(0, 10)}, ${holds_identity ? 'renewed when unlocked' : 'renewed by the machine that holds the identity'}`,
      ],
      [{ text: 'passphrase', style: palette.quiet }, PROTECTIONS[summary.passphrase]],
    ])
  context.output.result({ ...summary, holds_identity, hardware }, human, summary.did)
  return undefined
}

export const document: CommandHandler = async (context, { options }) => {
  const { document: value } = await view(context, options)
  context.output.result(value, () => JSON.stringify(value, null, 2), JSON.stringify(value))
  return undefined
}

export const chain: CommandHandler = async (context, { options }) => {
  const { summary, entries } = await view(context, options)
  context.output.result(
    { did: summary.did, entries },
    (palette) =>
      table([
        ['entry', 'kind', 'reason', 'time', 'key', 'post-quantum', 'hash'].map((text) => ({ text, style: palette.quiet })),
        ...entries.map((entry) => [
          String(entry.index),
          entry.kind,
          entry.reason,
          entry.index === 0 ? 'beginning' : entry.time,
          entry.key.slice(0, 16),
          entry.post_quantum ? 'yes' : 'no',
          entry.hash.slice(0, 16),
        ]),
      ]),
    entries.at(-1)?.hash,
  )
  return undefined
}

/** From the running node, else from the key files. */
async function view(context: CommandContext, options: Options): Promise<IdentityView> {
  try {
    return await (await context.daemon()).call('GET /v1/identity', {})
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
  }
  await using home = await openHome(context.home, { create: false })
  const passphrase = await findPassphrase(context, options)
  try {
    using device = await openDevice(home, { passphrase: passphrase.secret, clock: systemClock, renew: false })
    const roster = await readRoster(home)
    const others = (roster === undefined ? [] : listedDevices(roster))
      .filter(({ status, linkKey }) => status === 'active' && !equal(linkKey, device.linkSigner.publicKey))
      .map(({ linkKey }) => ({ linkKey, deviceMldsa: undefined }))
    return viewDevice(device, modeOf(passphrase), others)
  } finally {
    passphrase.secret.wipe()
  }
}
