import { existsSync } from 'node:fs'
import { systemClock } from '../../../core/clock.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import { Secret } from '../../../core/secret.ts'
import { STORED_WORK_FACTOR } from '../../../daemon/identity/setup.ts'
import { checkVaultName, createVaultFile, DEFAULT_VAULT, missing, vaultFile } from '../../../daemon/vault/files.ts'
import type { VaultView } from '../../../daemon/vault/service.ts'
import type { Home } from '../../../identity/home.ts'
import { type Passphrase, resolvePassphrase } from '../../../identity/passphrase.ts'
import { generatePhrase, parsePhrase } from '../../../vault/bip39.ts'
import type { CommandContext } from '../../context.ts'
import { ago } from '../../format.ts'
import type { Options } from '../../options.ts'
import { askNewPassphrase, homeView, passphraseForDaemon } from '../../passphrase.ts'
import { showPhrase } from '../../phrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { type Palette, table } from '../../style.ts'
import { readVaultPhrase } from './desk.ts'

const DEFAULT_WORDS = 24
const MAX_PHRASE_BYTES = 1_024

export const status: CommandHandler = async (context) => {
  const result = await (await context.daemon()).call('GET /v1/vault', {})
  const open = result.vaults.filter(({ unlocked }) => unlocked).map(({ vault }) => vault)
  context.output.result(result, (palette) => lines(result.vaults, palette), open.join('\n') || undefined)
  return undefined
}

export const unlock: CommandHandler = async (context, { args, options }) => {
  const name = checkVaultName(args[0] ?? DEFAULT_VAULT)
  const made = options.flag('new') || options.flag('restore')
  const client = await context.daemon()
  let passphrase: Secret | undefined
  try {
    if (made) passphrase = (await make(context, options, name)).secret
    // A vault made without a node is opened when one runs.
    if (!(await running(context, made))) {
      context.output.result({ vault: name, unlocked: false, created: true }, (palette) => `${palette.good('made')}  ${name}; it is locked, for no node runs`)
      return undefined
    }
    passphrase ??= await given(context, options, name)
    const view = await client.callWithSecret('POST /v1/vault/unlock', { vault: name }, passphrase)
    context.output.result({ ...view, created: made }, (palette) => [
      `${palette.good('unlocked')}  ${name}`,
      palette.quiet(view.locks_at === null ? 'until it is locked' : `until it is locked, or not used until ${view.locks_at}`),
    ])
  } finally {
    passphrase?.wipe()
  }
  return undefined
}

export const lock: CommandHandler = async (context, { args }) => {
  const [name] = args
  const result = await (await context.daemon()).call('POST /v1/vault/lock', name === undefined ? {} : { vault: checkVaultName(name) })
  context.output.result(
    result,
    (palette) => (result.locked.length === 0 ? palette.quiet('none was open') : `${palette.good('locked')}  ${result.locked.join(', ')}`),
    result.locked.join('\n') || undefined,
  )
  return undefined
}

export const phrase: CommandHandler = async (context, { args, options }) => {
  const { terminal, output } = context
  const name = checkVaultName(args[0] as string)
  if (context.json || !terminal.visible)
    throw new KithError('USAGE', 'A phrase is shown on a terminal only, never in JSON, a file or a pipe.', { next: `kith vault phrase ${name}` })
  const secret = await readVaultPhrase(context, options, await mustHaveHome(context), name)
  try {
    output.note('Whoever sees these words has this vault.')
    showPhrase(secret, terminal)
  } finally {
    secret.wipe()
  }
  return undefined
}

/** Makes the file of a vault. Gives the passphrase that it was sealed by, the caller's to wipe. */
async function make(context: CommandContext, options: Options, name: string): Promise<Passphrase> {
  if (options.flag('new') && options.flag('restore'))
    throw new KithError('USAGE', '--new and --restore exclude each other.', { next: 'kith vault unlock --help' })
  const home = await mustHaveHome(context)
  if (name === DEFAULT_VAULT || existsSync(vaultFile(home.paths.root, name)))
    throw new KithError('VAULT_EXISTS', undefined, { details: { vault: name }, next: `kith vault unlock ${name}` })
  const words = options.flag('restore') ? await readWords(context) : generatePhrase(options.count('words') ?? DEFAULT_WORDS, systemRandom)
  try {
    const passphrase = await newPassphrase(context, options, home)
    try {
      const workFactor = passphrase.source === 'state' ? { workFactor: STORED_WORK_FACTOR } : {}
      await createVaultFile(home.paths.root, name, words, passphrase.secret, { random: systemRandom, nowMs: systemClock.now(), ...workFactor })
    } catch (error) {
      passphrase.secret.wipe()
      throw error
    }
    if (options.flag('new')) tellPhrase(context, words, name)
    return passphrase
  } finally {
    words.wipe()
  }
}

function tellPhrase({ terminal, output, json, command }: CommandContext, words: Secret, name: string): void {
  if (json || !terminal.visible) return void output.note(`The phrase of this vault is shown on a terminal: ${command(`kith vault phrase ${name}`)}`)
  output.note('Write these words down. They restore this vault:')
  showPhrase(words, terminal)
}

async function readWords({ terminal, signal }: CommandContext): Promise<Secret> {
  const typed = terminal.interactive
    ? await terminal.askSecret('Phrase: ', signal)
    : await terminal.readInput(MAX_PHRASE_BYTES, signal).then((bytes) => (bytes.length === 0 ? undefined : Secret.take(bytes)))
  if (typed === undefined) throw new KithError('PHRASE_INVALID', 'No phrase was given.', { next: 'kith vault unlock --help' })
  try {
    return parsePhrase(typed)
  } finally {
    typed.wipe()
  }
}

/** By the sources that every passphrase has; a person is asked twice. */
async function newPassphrase(context: CommandContext, options: Options, home: Home): Promise<Passphrase> {
  const file = options.text('passphrase-file')
  return await resolvePassphrase({
    environment: { ...context.env },
    home,
    ...(file === undefined ? {} : { file }),
    prompt: async () => (context.terminal.interactive ? await askNewPassphrase(context, 'Passphrase of the vault: ') : undefined),
  })
}

async function given(context: CommandContext, options: Options, name: string): Promise<Secret | undefined> {
  const home = await mustHaveHome(context)
  if (name !== DEFAULT_VAULT && !existsSync(vaultFile(home.paths.root, name))) throw missing(name)
  const { identity } = await (await context.daemon()).call('GET /v1/status', {})
  return await passphraseForDaemon(context, options, identity.passphrase === 'stored')
}

async function running(context: CommandContext, may: boolean): Promise<boolean> {
  try {
    await (await context.daemon()).call('GET /v1/health', {})
    return true
  } catch (error) {
    if (may && isKithError(error, 'DAEMON_NOT_RUNNING')) return false
    throw error
  }
}

async function mustHaveHome(context: CommandContext): Promise<Home> {
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', `There is no identity in ${context.home}.`, { next: 'kith init' })
  return home
}

function lines(vaults: readonly VaultView[], palette: Palette): string[] {
  return table([
    ['vault', 'state', 'last used', 'locks by itself'].map((text) => ({ text, style: palette.quiet })),
    ...vaults.map((vault) => [
      { text: vault.vault, style: palette.strong },
      vault.unlocked ? { text: 'unlocked', style: palette.good } : { text: 'locked', style: palette.quiet },
      vault.last_used === null ? '' : ago(vault.last_used, Date.now()),
      vault.locks_at ?? (vault.unlocked ? 'never' : ''),
    ]),
  ])
}
