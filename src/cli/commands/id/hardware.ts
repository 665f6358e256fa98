import { systemClock } from '../../../core/clock.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import type { KeyAttestation } from '../../../core/signer.ts'
import type { ControlClient } from '../../../daemon/control/client.ts'
import type { IdentitySummary } from '../../../daemon/identity/describe.ts'
import { describeDevice, saveSummary } from '../../../daemon/identity/describe.ts'
import { addressOf, attestIdentity, commitToToken } from '../../../daemon/identity/hardware.ts'
import { isUnattended, modeOf, workFactorFor } from '../../../daemon/identity/protection.ts'
import { ROTATION_REASONS, type RotationReason } from '../../../daemon/identity/rotate.ts'
import { loadTokenNotes } from '../../../identity/hardware/notes.ts'
import { openHome } from '../../../identity/home.ts'
import { openDevice, openIdentity } from '../../../identity/keystore.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase, passphraseForDaemon } from '../../passphrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { findTokens, needsPin } from '../../tokens.ts'
import { known } from './change.ts'
import { personalPin, withPin } from './hardware-pin.ts'

export const show: CommandHandler = async (context, { options }) => {
  const summary = await known(context)
  const keys = (await loadTokenNotes(context.home)).map((note) => ({ ...note, current: note.generation === summary.chain.index }))
  const attestation = options.flag('attest') ? await attest(context, options, summary) : undefined
  context.output.result(
    { did: summary.did, keys, ...(attestation === undefined ? {} : { attestation }) },
    (palette) => [
      ...(keys.length === 0 ? ['The keys of this identity are in its key file.'] : []),
      ...keys.map(({ current, uri }) => `${palette.strong(current ? 'the key that signs' : 'the next key')}  ${uri}`),
      ...(attestation === undefined ? [] : describe(attestation)),
    ],
    keys.map(({ uri }) => uri).join('\n'),
  )
  return undefined
}

export const commit: CommandHandler = async (context, { options }) => {
  const pkcs11 = options.text('pkcs11')
  if (pkcs11 === undefined) throw new KithError('USAGE', 'Say which token: --pkcs11 URI.', { next: 'kith id hardware commit --help' })
  const reason = reasonOf(options.text('reason'))
  const summary = await known(context)
  const module = options.text('module')
  const done = await throughNode(context, options, summary, {
    node: async (client, passphrase) =>
      await client.callWithSecret('POST /v1/identity/hardware/commit', { pkcs11, reason, ...(module === undefined ? {} : { module }) }, passphrase),
    files: () => commitOnFiles(context, options, addressOf(pkcs11, module), reason),
    needsPin: true,
  })
  context.output.result({ did: done.did, reason, chain: done.chain, uri: done.uri, made: done.made }, (palette) => [
    `${palette.good('committed')}  the next key of the identity is ${done.made ? 'made' : 'found'} in the token: ${done.uri}`,
    palette.quiet(`it signs after the next rotation: ${context.command('kith id rotate')}`),
  ])
  return undefined
}

export const unlock: CommandHandler = async (context, { options }) => {
  const client = await context.daemon()
  await client.call('GET /v1/health', {})
  const pin = await personalPin(context, options)
  if (pin === undefined) throw new KithError('TOKEN_PIN_REQUIRED', undefined, { next: 'kith id hardware unlock --pin-file FILE' })
  try {
    const result = await client.callWithSecret('POST /v1/identity/hardware/pin', {}, pin)
    context.output.result(result, (palette) => `${palette.good('unlocked')}  the node has the PIN until ${context.command('kith id hardware lock')}`)
  } finally {
    pin.wipe()
  }
  return undefined
}

export const lock: CommandHandler = async (context) => {
  const result = await (await context.daemon()).callWithSecret('POST /v1/identity/hardware/pin', {}, undefined)
  context.output.result(result, (palette) =>
    result.pin ? palette.warn('The node reads the PIN from a file or credential of its own.') : `${palette.good('locked')}  the node has forgotten the PIN`,
  )
  return undefined
}

async function attest(context: CommandContext, options: Options, summary: IdentitySummary): Promise<KeyAttestation> {
  return await throughNode(context, options, summary, {
    node: async (client, passphrase) => await client.callWithSecret('POST /v1/identity/hardware/attest', {}, passphrase),
    files: async () => {
      await using home = await openHome(context.home, { create: false, tokens: await findTokens(context, options) })
      const passphrase = await findPassphrase(context, options)
      try {
        using identity = await openIdentity(home, { passphrase: passphrase.secret })
        return attestIdentity(identity)
      } finally {
        passphrase.secret.wipe()
      }
    },
    needsPin: await needsPin(context, summary),
  })
}

async function commitOnFiles(
  context: CommandContext,
  options: Options,
  uri: string,
  reason: RotationReason,
): Promise<IdentitySummary & { uri: string; made: boolean }> {
  const tokens = await findTokens(context, options, true)
  await using home = await openHome(context.home, { create: false, tokens })
  const passphrase = await findPassphrase(context, options)
  const work = { passphrase: passphrase.secret, clock: systemClock, random: systemRandom, ...workFactorFor(passphrase) }
  try {
    using device = await openDevice(home, { ...work, renew: false })
    using identity = await openIdentity(home, work)
    const { key, made } = tokens.ensure(uri)
    await commitToToken({ home, identity, device, options: work }, key, reason)
    const summary = describeDevice(device, modeOf(passphrase))
    await saveSummary(home.paths.root, summary)
    return { ...summary, uri: key.uri, made }
  } finally {
    passphrase.secret.wipe()
  }
}

interface Ways<T> {
  node(client: ControlClient, passphrase: Secret | undefined): Promise<T>
  files(): Promise<T>
  readonly needsPin: boolean
}

/** By the running node, which is lent a PIN that a person gave for as long as this takes; else on the files. */
async function throughNode<T>(context: CommandContext, options: Options, summary: IdentitySummary, ways: Ways<T>): Promise<T> {
  const client = await context.daemon()
  try {
    await client.call('GET /v1/health', {})
  } catch (error) {
    if (!isKithError(error, 'DAEMON_NOT_RUNNING')) throw error
    return await ways.files()
  }
  const passphrase = await passphraseForDaemon(context, options, isUnattended(summary.passphrase))
  try {
    return await withPin(context, options, client, ways.needsPin, () => ways.node(client, passphrase))
  } finally {
    passphrase?.wipe()
  }
}

function describe({ hardware, sensitive, nonExtractable, madeThere, token }: KeyAttestation): string[] {
  if (token === undefined) return ['signs in the memory of kith, from its key file']
  const yes = (text: string, is: boolean): string => `${is ? 'yes' : 'no '}  ${text}`
  return [
    `the token ${token.label} says (${token.manufacturer}, ${token.model}, serial ${token.serial}):`,
    yes('it is a device, not software', hardware),
    yes('the key was never given out in the clear', sensitive),
    yes('the key cannot leave the token', nonExtractable),
    yes('the key was made in the token', madeThere),
  ]
}

function reasonOf(text = 'scheduled'): RotationReason {
  const reason = ROTATION_REASONS.find((name) => name === text)
  if (reason === undefined) throw new KithError('USAGE', `--reason takes ${ROTATION_REASONS.join(', ')}.`, { next: 'kith id hardware commit --help' })
  return reason
}
