import { existsSync } from 'node:fs'
import { KithError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { hasPending, isDeviceOnly } from '../identity/device-home.ts'
import { type Home, homePaths, readPrivateFile, viewHome } from '../identity/home.ts'
import { type Passphrase, readPassphraseFile, resolvePassphrase } from '../identity/passphrase.ts'
import type { CommandContext } from './context.ts'
import type { Options } from './options.ts'

/** A home to read from without its lock, beside the process that holds it: key files are replaced whole. `undefined` when there is none. */
export async function homeView(home: string): Promise<Home | undefined> {
  const paths = homePaths(home)
  const id = await readPrivateFile(paths.id, 64)
  if (id === undefined) return undefined
  return viewHome(paths, Buffer.from(id).toString('latin1').trim())
}

/**
 * The passphrase of an existing identity: file, environment, credential, the stored one, else a question. The caller wipes it.
 * @throws KithError `IDENTITY_MISSING`, `PASSPHRASE_REQUIRED`.
 */
export async function findPassphrase(context: CommandContext, options: Options): Promise<Passphrase> {
  const file = options.text('passphrase-file')
  const home = await homeView(context.home)
  // Nobody is asked for a passphrase that opens nothing.
  if (home === undefined || !(existsSync(home.paths.identity) || (await isDeviceOnly(home)) || (await hasPending(home))))
    throw new KithError('IDENTITY_MISSING', `There is no identity in ${context.home}.`, { next: 'kith init' })
  return await resolvePassphrase({
    environment: { ...context.env },
    ...(file === undefined ? {} : { file }),
    home,
    prompt: async () => (context.terminal.interactive ? await context.terminal.askSecret('Passphrase: ', context.signal) : undefined),
  })
}

/**
 * The passphrase for the daemon, which looks into file, environment and state by itself: only what a person says here is sent.
 * `undefined` lets the daemon use the one stored outside the home.
 */
export async function passphraseForDaemon(context: CommandContext, options: Options, stored: boolean): Promise<Secret | undefined> {
  const file = options.text('passphrase-file')
  if (file !== undefined) return readPassphraseFile(file)
  if (stored) return undefined
  return (await findPassphrase(context, options)).secret
}

/** Asks for a new passphrase, twice. An empty one means none. @throws KithError `PASSPHRASE_WRONG` when the two differ. */
export async function askNewPassphrase(context: CommandContext, question: string): Promise<Secret | undefined> {
  const first = await context.terminal.askSecret(question, context.signal)
  if (first === undefined) return undefined
  const second = await context.terminal.askSecret('The same again: ', context.signal)
  try {
    if (second?.equals(first) === true) return first
    first.wipe()
    throw new KithError('PASSPHRASE_WRONG', 'The two passphrases are not the same.', { next: 'kith init' })
  } finally {
    second?.wipe()
  }
}
