import { resolve } from 'node:path'
import { systemClock } from '../../../core/clock.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import { systemRandom } from '../../../core/random.ts'
import type { Secret } from '../../../core/secret.ts'
import { type IdentitySummary, loadSummary } from '../../../daemon/identity/describe.ts'
import { fetchOwnChain } from '../../../daemon/identity/own-chain.ts'
import { didOfPhrase, setUpIdentity } from '../../../daemon/identity/setup.ts'
import { isDeviceOnly } from '../../../identity/device-home.ts'
import { type Did, parseDid } from '../../../identity/did.ts'
import { type Home, openHome } from '../../../identity/home.ts'
import { hasIdentity, openDevice } from '../../../identity/keystore.ts'
import { type Passphrase, resolvePassphrase } from '../../../identity/passphrase.ts'
import type { ChainState } from '../../../identity/types.ts'
import { decodeTicket } from '../../../mesh/ticket.ts'
import { parsePhrase } from '../../../vault/bip39.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { askNewPassphrase, findPassphrase } from '../../passphrase.ts'
import { showPhrase } from '../../phrase.ts'
import type { CommandHandler } from '../../spec.ts'
import { harmless } from '../../style.ts'

export const WORD_COUNTS: readonly number[] = [12, 15, 18, 21, 24]
const MAX_PHRASE_BYTES = 1_024
/** What a restore says that could ask nobody. */
const WITHOUT_HISTORY = 'Nobody was asked for the history of this identity: it is used here, and not changed. Once a machine of it can be reached:'
export const WITHOUT_PASSPHRASE = 'No passphrase: whoever uses this account can use the keys.'

export interface InitResult {
  readonly did: string
  readonly name: string
  readonly home: string
  readonly created: boolean
}

export const run: CommandHandler = async (context, { options }) => {
  const { result, remarks, running } = await initialise(context, options)
  context.output.result(
    result,
    (palette) => [
      `${result.created ? palette.good('made') : palette.quiet('already there:')} ${palette.strong(harmless(result.name))}  ${result.did}`,
      palette.quiet(`home: ${result.home}`),
    ],
    result.did,
  )
  tellRemarks(context, remarks)
  context.output.note(`next: ${context.command(running ? 'kith status' : 'kith up')}`)
  return undefined
}

/** What a person should know about an identity that was just made, and the command that goes with it. */
export type Remark = readonly [sentence: string, command: string]

export interface Initialised {
  readonly result: InitResult
  readonly remarks: readonly Remark[]
  /** Whether the node runs already. */
  readonly running: boolean
}

export function tellRemarks({ output, command }: CommandContext, remarks: readonly Remark[]): void {
  for (const [sentence, text] of remarks) output.note(`${sentence}\n  ${command(text)}`)
}

/** Makes the identity of the home, or finds the one it has. A degraded node that holds the home is asked to do it. */
export async function initialise(context: CommandContext, options: Options): Promise<Initialised> {
  const words = options.count('words')
  if (words !== undefined && !WORD_COUNTS.includes(words)) throw new KithError('USAGE', '--words takes 12, 15, 18, 21 or 24.', { next: 'kith init --help' })
  if (options.flag('no-passphrase') && options.text('passphrase-file') !== undefined) {
    throw new KithError('USAGE', '--no-passphrase and --passphrase-file exclude each other.', { next: 'kith init --help' })
  }
  let home: Home
  try {
    home = await openHome(context.home)
  } catch (error) {
    if (isKithError(error, 'HOME_IN_USE')) return await throughDaemon(context, options, error)
    throw error
  }
  try {
    return (await hasIdentity(home)) || (await isDeviceOnly(home)) ? await existing(context, options, home) : await create(context, options, home)
  } finally {
    await home.close()
  }
}

async function existing(context: CommandContext, options: Options, home: Home): Promise<Initialised> {
  if (restores(options)) throw notOver()
  const summary = (await loadSummary(context.home)) ?? (await askKeys(context, options, home))
  return result(context, summary, false)
}

/** The note beside the keys is gone: the keys themselves tell. */
async function askKeys(context: CommandContext, options: Options, home: Home): Promise<{ did: string; name: string }> {
  const passphrase = await findPassphrase(context, options)
  try {
    using device = await openDevice(home, { passphrase: passphrase.secret, renew: false })
    return { did: device.did, name: device.name }
  } finally {
    passphrase.secret.wipe()
  }
}

async function create(context: CommandContext, options: Options, home: Home): Promise<Initialised> {
  const from = options.list('from')
  if (!restores(options) && (from.length > 0 || options.text('did') !== undefined || options.text('phrase-file') !== undefined)) {
    throw new KithError('USAGE', '--from, --did and --phrase-file belong to --restore.', { next: 'kith init --help' })
  }
  const given = restores(options) ? await givenPhrase(context, options) : undefined
  const chain = given === undefined ? undefined : await historyOf(context, options, given)
  const passphrase = await newPassphrase(context, options)
  const name = options.text('name')
  const words = options.count('words')
  try {
    const { summary, phrase } = await setUpIdentity({
      home,
      clock: systemClock,
      random: systemRandom,
      environment: { ...context.env },
      ...(passphrase === undefined ? {} : { passphrase }),
      ...(name === undefined ? {} : { name }),
      ...(words === undefined ? {} : { words }),
      ...(given === undefined ? {} : { phrase: given }),
      ...(chain === undefined ? {} : { chain }),
    })
    const shown = given !== undefined || tellPhrase(context, phrase)
    phrase.wipe()
    const blind: Remark[] = given !== undefined && chain === undefined ? [[WITHOUT_HISTORY, 'kith id rotation take --from tcp://HOST:PORT']] : []
    return result(context, summary, true, [...remarks(shown, passphrase), ...blind])
  } finally {
    given?.wipe()
    passphrase?.wipe()
  }
}

/** The chain is asked for before anything is made: it says which keys of the phrase are the current ones. `undefined` when nobody was named. */
async function historyOf(context: CommandContext, options: Options, phrase: Secret): Promise<ChainState | undefined> {
  const named = options.text('did')
  const did = named === undefined ? didOfPhrase(phrase) : parseDid(named)
  const urls = options.list('from').flatMap((from) => (from.startsWith('kith1') ? ticketUrls(from, did) : [tcpUrl(from)]))
  if (urls.length > 0) return await fetchOwnChain({ did, urls, clock: systemClock, random: systemRandom, signal: context.signal })
  if (named === undefined || did === didOfPhrase(phrase)) return undefined
  throw new KithError('PHRASE_OTHER', 'This phrase is not the one that identity began with; its history has to be asked for.', {
    next: 'kith init --restore --did DID --from tcp://HOST:PORT',
  })
}

function tcpUrl(text: string): string {
  if (/^tcp:\/\/[^\s/@?#]+:\d{1,5}$/.test(text)) return text
  throw new KithError('USAGE', '--from takes a ticket, or an address such as tcp://192.0.2.7:4433.', { next: 'kith init --help' })
}

function ticketUrls(text: string, did: Did): readonly string[] {
  const ticket = decodeTicket(text)
  if (ticket.did === did) return ticket.urls
  throw new KithError('WRONG_PEER', 'This ticket is from another identity; the history is asked of machines of the one that is restored.', {
    next: 'kith invite (on a machine of that identity)',
  })
}

export function remarks(phraseShown: boolean, passphrase: Secret | undefined): Remark[] {
  return [
    ...(phraseShown ? [] : [['The recovery phrase, to be written down, is shown on a terminal only:', 'kith id phrase'] as const]),
    ...(passphrase === undefined ? [[`${WITHOUT_PASSPHRASE} To set one:`, 'kith id passphrase'] as const] : []),
  ]
}

/** Whether it could be shown. */
export function tellPhrase(context: CommandContext, phrase: Secret): boolean {
  if (context.json || context.quiet || !context.terminal.visible) return false
  context.output.note('The recovery phrase: write it down and keep it where nobody else looks.\nWhoever has it has this identity.')
  context.terminal.write('\n')
  showPhrase(phrase, context.terminal)
  context.terminal.write('\n')
  return true
}

/** File, environment or credential; else a question on a terminal; else none. */
export async function newPassphrase(context: CommandContext, options: Options): Promise<Secret | undefined> {
  if (options.flag('no-passphrase')) return undefined
  const file = options.text('passphrase-file')
  let found: Passphrase
  try {
    found = await resolvePassphrase({ environment: { ...context.env }, ...(file === undefined ? {} : { file }) })
  } catch (error) {
    if (!isKithError(error, 'PASSPHRASE_REQUIRED') || file !== undefined) throw error
    if (context.yes || !context.terminal.interactive) return undefined
    return await askNewPassphrase(context, 'Passphrase for this node (Enter for none): ')
  }
  return found.secret
}

function restores(options: Options): boolean {
  return options.flag('restore') || options.flag('restore-shares')
}

/** The phrase as somebody gives it: its words, or shares of it. */
async function givenPhrase(context: CommandContext, options: Options): Promise<Secret> {
  const file = options.text('phrase-file')
  if (!options.flag('restore-shares')) return file === undefined ? await readPhrase(context) : await phraseOfFile(resolve(context.cwd, file))
  if (file !== undefined) throw new KithError('USAGE', '--phrase-file belongs to --restore; shares are asked for.', { next: 'kith init --help' })
  if (options.flag('restore')) throw new KithError('USAGE', '--restore and --restore-shares exclude each other.', { next: 'kith init --help' })
  return await (await import('../../shares.ts')).readShares(context)
}

async function phraseOfFile(path: string): Promise<Secret> {
  const { readPhraseFile } = await import('../../backup/keys.ts')
  return await readPhraseFile(path)
}

/** The phrase to restore: asked without echo on a terminal, else read from standard input. */
export async function readPhrase(context: CommandContext): Promise<Secret> {
  const { Secret } = await import('../../../core/secret.ts')
  const text = context.terminal.interactive
    ? await context.terminal.askSecret('Recovery phrase: ', context.signal)
    : await context.terminal.readInput(MAX_PHRASE_BYTES, context.signal).then((bytes) => (bytes.length === 0 ? undefined : Secret.take(bytes)))
  if (text === undefined) throw new KithError('PHRASE_INVALID', 'No phrase was given.', { next: 'kith init --restore' })
  try {
    return parsePhrase(text)
  } finally {
    text.wipe()
  }
}

/** A running node holds the home: it tells its identity, or makes one when it has none. */
async function throughDaemon(context: CommandContext, options: Options, inUse: KithError): Promise<Initialised> {
  const client = await context.daemon()
  const status = await client.call('GET /v1/status', {}).catch((error: unknown) => {
    throw isKithError(error, 'DAEMON_NOT_RUNNING') ? inUse : error
  })
  const running = (identity: { did: string; name: string }, created: boolean, remarks?: readonly Remark[]): Initialised => ({
    ...result(context, identity, created, remarks),
    running: true,
  })
  if (status.did !== null && restores(options)) throw notOver()
  if (status.did !== null) return running({ did: status.did, name: status.name ?? '' }, false)
  const known = await loadSummary(context.home)
  if (known !== undefined && restores(options)) throw notOver()
  if (known !== undefined) return running(known, false)
  if (restores(options)) throw new KithError('HOME_IN_USE', inUse.message, { details: inUse.details, next: 'kith down' })
  const passphrase = await newPassphrase(context, options)
  const name = options.text('name')
  const words = options.count('words')
  try {
    const input = { ...(name === undefined ? {} : { name }), ...(words === undefined ? {} : { words }) }
    const summary: IdentitySummary = await client.callWithSecret('POST /v1/identity/create', input, passphrase)
    return running(summary, true, remarks(false, passphrase))
  } finally {
    passphrase?.wipe()
  }
}

/** What is there is never written over. */
function notOver(): KithError {
  return new KithError('IDENTITY_EXISTS', undefined, { next: 'kith init --restore --home DIR (another directory)' })
}

function result(context: CommandContext, identity: { did: string; name: string }, created: boolean, remarks: readonly Remark[] = []): Initialised {
  return { result: { did: identity.did, name: identity.name, home: context.home, created }, remarks, running: false }
}
