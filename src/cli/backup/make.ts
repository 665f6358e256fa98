import { systemClock } from '../../core/clock.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { systemRandom } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { type CreatedBackup, createBackup } from '../../daemon/backup/create.ts'
import type { BackupStage } from '../../daemon/backup/desk.ts'
import { loadSummary } from '../../daemon/identity/describe.ts'
import { version } from '../../daemon/version.ts'
import { DEFAULT_WORK_FACTOR, ScryptRecipient } from '../../identity/age-scrypt.ts'
import { openIdentity } from '../../identity/keystore.ts'
import { type Passphrase, readPassphraseFile } from '../../identity/passphrase.ts'
import { formatRecipient, parseRecipient } from '../../vault/bech32.ts'
import { phraseToSeed } from '../../vault/bip39.ts'
import type { ContainerRecipients } from '../../vault/container-header.ts'
import { deriveBackupKey, recipientOf, X25519Recipient } from '../../vault/container-recipients.ts'
import type { CommandContext } from '../context.ts'
import type { Options } from '../options.ts'
import { findPassphrase, homeView } from '../passphrase.ts'
import { createProgressBar } from '../progress.ts'
import { type Holder, localHolder, runningHolder } from './holder.ts'
import type { Target } from './target.ts'

/** What a backup is sealed to besides the home's own key. */
export interface SealingChoice {
  readonly recipients: readonly Uint8Array[]
  readonly passphraseFile: string | undefined
}

/** @throws KithError `USAGE`. */
export function sealingChoice(options: Options): SealingChoice {
  const recipients = options.list('recipient').map(parseRecipient)
  const passphraseFile = options.text('seal-passphrase-file')
  if (recipients.length > 0 && passphraseFile !== undefined) {
    throw new KithError('USAGE', 'A backup is sealed to keys or with a passphrase, not both: the age format has no such files.', { next: 'kith backup --help' })
  }
  if (recipients.length > MAX_RECIPIENTS) throw new KithError('USAGE', `--recipient is given at most ${MAX_RECIPIENTS} times.`, { next: 'kith backup --help' })
  return { recipients, passphraseFile }
}

const MAX_RECIPIENTS = 20

export interface MadeBackup extends CreatedBackup {
  readonly path: string
  /** How many snapshots are kept. */
  readonly keep: number
}

/** Makes one backup of the context's home. `openTarget` learns time and counter, which a snapshot's name is made of. */
export async function makeBackup(
  context: CommandContext,
  options: Options,
  choice: SealingChoice,
  openTarget: (stage: BackupStage) => Promise<Target>,
): Promise<MadeBackup> {
  const running = await runningHolder(context)
  let passphrase: Passphrase | undefined
  let sealing: Secret | undefined
  try {
    if (await isNeeded(context, running, choice)) passphrase = await findPassphrase(context, options)
    if (choice.passphraseFile !== undefined) sealing = readPassphraseFile(choice.passphraseFile)
    const own = passphrase === undefined ? undefined : await ownRecipient(context, passphrase.secret)
    await using holder = running ?? (await localHolder(context, (passphrase as Passphrase).secret))
    const known = own === undefined ? holder.recipient : formatRecipient(own)
    const recipients = recipientsOf(choice, sealing, known)
    const hidden = passphrase !== undefined && (passphrase.source === 'state' || passphrase.random === true)
    return await write(context, holder, { recipients, known, openTarget, ...(hidden ? { reseal: (passphrase as Passphrase).secret } : {}) })
  } finally {
    passphrase?.secret.wipe()
    sealing?.wipe()
  }
}

/**
 * The passphrase is asked for where no node runs that could sign; where the key files are sealed by one that no backup carries and must be sealed anew; and where
 * nobody has told this home its backup key before.
 */
async function isNeeded(context: CommandContext, running: Holder | undefined, choice: SealingChoice): Promise<boolean> {
  if (running === undefined) return true
  if ((await loadSummary(context.home))?.passphrase !== 'passphrase') return true
  return running.recipient === null && choice.passphraseFile === undefined && choice.recipients.length === 0
}

/** The backup key of the home's phrase; `undefined` where there is no phrase. */
async function ownRecipient(context: CommandContext, passphrase: Secret): Promise<Uint8Array | undefined> {
  const home = await homeView(context.home)
  if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
  using identity = await openIdentity(home, { passphrase })
  const phrase = identity.phrase()
  if (phrase === undefined) return undefined
  const seed = phraseToSeed(phrase)
  phrase.wipe()
  const key = deriveBackupKey(seed)
  seed.wipe()
  const recipient = recipientOf(key)
  key.wipe()
  return recipient
}

function recipientsOf(choice: SealingChoice, sealing: Secret | undefined, known: string | null): ContainerRecipients {
  const random = systemRandom
  if (sealing !== undefined) return { recipients: [new ScryptRecipient(sealing, DEFAULT_WORK_FACTOR, random)], passphrase: true, random }
  const keys = [...(known === null ? [] : [parseRecipient(known)]), ...choice.recipients]
  if (keys.length === 0) {
    throw new KithError('USAGE', 'This identity has no recovery phrase, so there is no key of its own to seal a backup to.', {
      next: 'kith backup FILE --seal-passphrase-file FILE (or --recipient with a key that age-keygen made)',
    })
  }
  return { recipients: keys.map((key) => new X25519Recipient(key, random)), random }
}

interface Writing {
  readonly recipients: ContainerRecipients
  readonly known: string | null
  readonly reseal?: Secret
  readonly openTarget: (stage: BackupStage) => Promise<Target>
}

async function write(context: CommandContext, holder: Holder, { recipients, known, reseal, openTarget }: Writing): Promise<MadeBackup> {
  const stage = await holder.begin(known ?? undefined)
  let target: Target | undefined
  const bar = createProgressBar({ clock: systemClock, label: 'backup', ...(context.json || context.quiet ? {} : { terminal: context.terminal }) })
  try {
    const to = await openTarget(stage)
    target = to
    const made = await createBackup({
      ...recipients,
      stage,
      version: version(),
      sink: to.sink,
      seal: (digest) => holder.seal(stage.id, digest),
      progress: (done, total) => bar.update({ done, total, before: 0 }),
      signal: context.signal,
      ...(reseal === undefined ? {} : { reseal }),
    })
    await to.finish()
    bar.end()
    await holder.end(stage.id, made.bytes)
    return { ...made, path: to.path, keep: holder.keep }
  } catch (error) {
    bar.end()
    await target?.discard()
    await holder.end(stage.id).catch(() => undefined)
    throw isKithError(error, 'FILE_CHANGED')
      ? new KithError('FILE_CHANGED', error.message, { details: error.details, cause: error, next: 'kith backup FILE' })
      : error
  }
}
