import { closeSync, fstatSync, lstatSync, openSync, readSync } from 'node:fs'
import { rename, unlink } from 'node:fs/promises'
import { isAbsolute, join, relative, sep } from 'node:path'
import { isKithError, KithError } from '../core/errors.ts'
import { makeFolder } from '../core/make-folder.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import { writeAtomic } from './atomic-file.ts'
import { loadSealed, unseal } from './hardware/sealed.ts'
import { stateDirectory, statePath } from './state-directory.ts'

/**
 * # Where a passphrase comes from
 *
 * In this order: one given by the caller, a file that was named, `ICN_KEYSTORE_PASSPHRASE`, the systemd credential `kith.passphrase`, the one sealed by the
 * TPM or in the keyring (`id seal`), the one kept in the state directory (`--no-passphrase`), a question. It is a `Secret` of UTF-8 from its first byte on,
 * except where the runtime gives a string: the environment.
 */
export type PassphraseSource = 'given' | 'file' | 'environment' | 'credential' | 'tpm' | 'keyring' | 'state' | 'prompt'

export interface Passphrase {
  readonly secret: Secret
  /** `state`: whoever can read the state directory can open the keystore; `status` and `doctor` say so. */
  readonly source: PassphraseSource
  /** It is 256 random bits, so that stretching it adds nothing. */
  readonly random?: boolean
}

export interface PassphraseOptions {
  readonly given?: Secret
  /** A path; `/dev/stdin` and pipes work. */
  readonly file?: string
  /** Default `process.env`. `ICN_KEYSTORE_PASSPHRASE` is removed from it. */
  readonly environment?: NodeJS.ProcessEnv
  /** The home whose kept passphrase counts. */
  readonly home?: { readonly id: string; readonly paths: { readonly root: string } }
  /** Asks a person. Gives `undefined` when there is nobody to ask. */
  readonly prompt?: () => Promise<Secret | undefined>
}

const VARIABLE = 'ICN_KEYSTORE_PASSPHRASE'
export const CREDENTIAL_NAME = 'kith.passphrase'
/** A person's sentence or a key file; anything longer is a mistake. */
const MAX_BYTES = 4096
const GENERATED_LETTERS = 43
const LETTERS = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')

/** @throws KithError `PASSPHRASE_REQUIRED` when no source has one, `HOME_UNSAFE` when a file of it is open to others. */
export async function resolvePassphrase(options: PassphraseOptions): Promise<Passphrase> {
  const environment = options.environment ?? process.env
  // Taken out of the environment in any case, so that no child inherits it.
  const fromEnvironment = takeEnvironmentPassphrase(environment)
  const found = options.given === undefined ? undefined : ({ secret: options.given, source: 'given' } as const)
  const said = found ?? readSources(options, environment, fromEnvironment)
  if (said?.source !== 'environment') fromEnvironment?.wipe()
  if (said !== undefined) return said
  const kept = options.home === undefined ? undefined : await readKept(options.home, environment)
  if (kept !== undefined && !isKithError(kept)) return kept
  const answer = await options.prompt?.()
  if (answer !== undefined) return { secret: answer, source: 'prompt' }
  if (kept !== undefined) throw kept
  throw new KithError('PASSPHRASE_REQUIRED', undefined, { next: `give it on a terminal, with --passphrase-file FILE, or in ${VARIABLE}` })
}

function readSources(options: PassphraseOptions, environment: NodeJS.ProcessEnv, fromEnvironment: Secret | undefined): Passphrase | undefined {
  if (options.file !== undefined) return { secret: readPassphraseFile(options.file), source: 'file' }
  if (fromEnvironment !== undefined) return { secret: fromEnvironment, source: 'environment' }
  const credential = readIfPresent(environment.CREDENTIALS_DIRECTORY, CREDENTIAL_NAME)
  if (credential !== undefined) return { secret: credential, source: 'credential' }
  return undefined
}

/** What the machine keeps for this home. What is sealed and does not open is an error that a person who knows the passphrase can answer. */
async function readKept(home: { readonly id: string }, environment: NodeJS.ProcessEnv): Promise<Passphrase | KithError | undefined> {
  try {
    const sealed = await loadSealed(home, environment)
    if (sealed !== undefined) return { secret: await unseal(sealed, environment), source: sealed.kind, random: sealed.random }
  } catch (error) {
    if (isKithError(error)) return error
    throw error
  }
  const path = statePassphrasePath(home.id, environment)
  return exists(path) ? { secret: readPassphraseFile(path), source: 'state', random: true } : undefined
}

/** Reads and removes the variable. The text stays in memory the runtime does not let us clear (its own copy and the start of the process's stack). */
export function takeEnvironmentPassphrase(environment: NodeJS.ProcessEnv = process.env): Secret | undefined {
  return takeSecretVariable(VARIABLE, environment)
}

/** As `takeEnvironmentPassphrase`, for a variable of another name. */
export function takeSecretVariable(name: string, environment: NodeJS.ProcessEnv): Secret | undefined {
  const text = environment[name]
  delete environment[name]
  if (text === undefined || text === '') return undefined
  return checked(Secret.take(Buffer.from(text)), name)
}

/** A credential that systemd gave to this unit. @throws KithError as `readPassphraseFile`. */
export function readCredential(name: string, environment: NodeJS.ProcessEnv): Secret | undefined {
  return readIfPresent(environment.CREDENTIALS_DIRECTORY, name)
}

/**
 * The first line of a file, without its end of line.
 * @throws KithError `PASSPHRASE_REQUIRED` when it is missing, empty or has several lines, `HOME_UNSAFE` when it is a regular file others can read.
 */
export function readPassphraseFile(path: string): Secret {
  return readSecretFile(path, true)
}

function readSecretFile(path: string, strict: boolean): Secret {
  const buffer = Buffer.alloc(MAX_BYTES + 1)
  let length = 0
  try {
    const file = openSync(path, 'r')
    try {
      const info = fstatSync(file)
      if (strict && info.isFile() && process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
        throw new KithError('HOME_UNSAFE', `${path} can be read by other users`, { details: { path }, next: `chmod 600 ${path}` })
      }
      for (let read = -1; read !== 0 && length <= MAX_BYTES; length += read) read = readSync(file, buffer, length, buffer.length - length, null)
    } finally {
      closeSync(file)
    }
    if (length > MAX_BYTES) throw required(path, `it is longer than ${MAX_BYTES} bytes`)
    if (buffer[length - 1] === 0x0a) length--
    if (buffer[length - 1] === 0x0d) length--
    if (length < 1) throw required(path, 'it is empty')
    return checked(Secret.take(buffer.subarray(0, length)), path)
  } catch (error) {
    if (error instanceof KithError) throw error
    throw required(path, 'it cannot be read', error)
  } finally {
    buffer.fill(0)
  }
}

/** Where the passphrase of a home without one is kept: outside the home, so that no copy of the home carries it. @throws KithError `HOME_UNSAFE` for a name that is none. */
export function statePassphrasePath(homeId: string, environment: NodeJS.ProcessEnv = process.env): string {
  return statePath(homeId, 'passphrase', environment)
}

/** A passphrase made for a home without one, and the two paths by which it takes effect; `move` is absent when it did already. */
export interface StagedPassphrase extends Passphrase {
  readonly move?: readonly [from: string, to: string]
}

/**
 * `--no-passphrase`: makes a random one (256 bits) and keeps it in the state directory, 0600. One that exists is kept and given again.
 * @throws KithError `HOME_UNSAFE` when the state directory is open to others or lies inside the home.
 */
export async function keepStatePassphrase(
  home: { readonly id: string; readonly paths: { readonly root: string } },
  random: Random,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Passphrase> {
  const { secret, source, move } = await stageStatePassphrase(home, random, environment)
  if (move !== undefined) await rename(...move)
  return { secret, source }
}

/** As `keepStatePassphrase`, except that it takes effect with a later change (`changeKeyFiles`): until then nobody reads it. */
export async function stageStatePassphrase(
  home: { readonly id: string; readonly paths: { readonly root: string } },
  random: Random,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<StagedPassphrase> {
  const path = statePassphrasePath(home.id, environment)
  const directory = stateDirectory(environment)
  const below = relative(home.paths.root, path)
  if (below.split(sep)[0] !== '..' && !isAbsolute(below)) {
    throw new KithError('HOME_UNSAFE', 'the state directory lies inside the home', {
      details: { path: directory },
      next: 'set XDG_STATE_HOME to a directory elsewhere',
    })
  }
  makeFolder(directory)
  const info = lstatSync(directory)
  if (process.platform !== 'win32' && (!info.isDirectory() || info.uid !== process.getuid?.() || (info.mode & 0o077) !== 0)) {
    throw new KithError('HOME_UNSAFE', `${directory} is open to other users`, { details: { path: directory }, next: `chmod 700 ${directory}` })
  }
  if (exists(path)) return { secret: readPassphraseFile(path), source: 'state' }
  const secret = generatePassphrase(random)
  const line = Buffer.alloc(secret.length + 1, 0x0a)
  try {
    secret.use((bytes) => bytes.copy(line))
    await writeAtomic(`${path}.new`, line)
  } finally {
    line.fill(0)
  }
  return { secret, source: 'state', move: [`${path}.new`, path] }
}

/** Removes the kept passphrase, once the keystore has another. */
export async function forgetStatePassphrase(homeId: string, environment: NodeJS.ProcessEnv = process.env): Promise<void> {
  await unlink(statePassphrasePath(homeId, environment)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** 43 letters of 6 bits, made in guarded memory. */
function generatePassphrase(random: Random): Secret {
  const secret = Secret.random(GENERATED_LETTERS, random)
  secret.fill((bytes) => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = LETTERS[(bytes[i] as number) & 63] as number
  })
  return secret
}

function readIfPresent(directory: string | undefined, name: string): Secret | undefined {
  if (directory === undefined || !isAbsolute(directory)) return undefined
  const path = join(directory, name)
  // systemd grants the unit's user access by ACL, which shows as rights of the group.
  return exists(path) ? readSecretFile(path, false) : undefined
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

/** What a terminal could not type is a mistake: it would lock a person out of `age -d`. */
function checked(secret: Secret, from: string): Secret {
  if (secret.use((bytes) => bytes.every((byte) => byte >= 0x20 && byte !== 0x7f))) return secret
  secret.wipe()
  throw required(from, 'it has more than one line or control characters')
}

function required(from: string, reason: string, cause?: unknown): KithError {
  return new KithError('PASSPHRASE_REQUIRED', `no passphrase in ${from}: ${reason}`, { details: { from, reason }, cause })
}
