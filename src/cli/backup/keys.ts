import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Identity } from 'age-encryption'
import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { ScryptIdentity } from '../../identity/age-scrypt.ts'
import { openIdentity } from '../../identity/keystore.ts'
import { readPassphraseFile } from '../../identity/passphrase.ts'
import { parseKeyFile } from '../../vault/bech32.ts'
import { parsePhrase, phraseToSeed } from '../../vault/bip39.ts'
import { lookAtHeader } from '../../vault/container-header.ts'
import { deriveBackupKey, X25519Identity } from '../../vault/container-recipients.ts'
import { readHeader, type Source } from '../../vault/container-stream.ts'
import type { CommandContext } from '../context.ts'
import type { Options } from '../options.ts'
import { findPassphrase, homeView } from '../passphrase.ts'

const PIECE_BYTES: number = 1 << 20
const MAX_PHRASE_BYTES = 1_024
const MAX_KEY_FILE_BYTES = 65_536

/** A backup to be read, and whether a passphrase or a key opens it. */
export interface OpenedFile {
  readonly source: Source
  readonly passphrase: boolean
  /** Ends reading, also when it never began. Idempotent. */
  close(): Promise<void>
}

/** Opens a file, or standard input for `-`. @throws KithError `FILE_MISSING`, `BACKUP_INVALID`, `BACKUP_DAMAGED`, `BACKUP_TRUNCATED`. */
export async function openFile(context: CommandContext, file: string): Promise<OpenedFile> {
  const pieces = (file === '-' ? context.terminal.receive() : await fileSource(resolve(context.cwd, file)))[Symbol.asyncIterator]()
  const close = async (): Promise<void> => void (await pieces.return?.())
  try {
    const { header, rest } = await readHeader(pieces)
    const { passphrase } = await lookAtHeader(header)
    return { passphrase, source: joined(header, rest, pieces), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function fileSource(path: string): Promise<Source> {
  // Opened before it is said to be there: what is missing has a sentence of its own.
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new KithError('FILE_MISSING', `${path} cannot be read: ${cause.code === 'ENOENT' ? 'it does not exist' : cause.code}.`, {
      cause,
      next: 'kith snapshot list',
    })
  })
  if ((await file.stat()).isDirectory()) {
    await file.close()
    throw new KithError('FILE_MISSING', `${path} is a folder.`, { next: 'kith snapshot list' })
  }
  return createReadStream(path, { fd: file, highWaterMark: PIECE_BYTES })
}

async function* joined(header: Uint8Array, rest: Uint8Array, pieces: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield header
    if (rest.length > 0) yield rest
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value
  } finally {
    await pieces.return?.()
  }
}

/** What opens a backup, and is wiped with `dispose`. */
export interface OpeningKeys extends Disposable {
  readonly identities: readonly Identity[]
  /** Where a phrase was given. */
  readonly phrase: Secret | undefined
}

/**
 * What somebody gave to open a backup: the passphrase it was sealed with, a key file, a phrase; of a home that has an identity its own phrase; else a question.
 * @throws KithError `PASSPHRASE_REQUIRED`, `PHRASE_INVALID`, `KEY_INVALID`, `USAGE`.
 */
export async function openingKeys(
  context: CommandContext,
  options: Options,
  file: { readonly passphrase: boolean; readonly own: boolean },
): Promise<OpeningKeys> {
  if (file.passphrase) return withPassphrase(await sealPassphrase(context, options))
  const keyFile = options.text('key-file')
  if (keyFile !== undefined) return withKeys(await readKeys(resolve(context.cwd, keyFile)))
  const phraseFile = options.text('phrase-file')
  if (phraseFile !== undefined) return withPhrase(await readPhraseFile(resolve(context.cwd, phraseFile)))
  if (file.own) return withPhrase(await ownPhrase(context, options))
  const asked = context.terminal.interactive ? await context.terminal.askSecret('Recovery phrase: ', context.signal) : undefined
  if (asked === undefined) {
    throw new KithError('PASSPHRASE_REQUIRED', 'The backup opens with the recovery phrase of its node, or with a key it was sealed to.', {
      next: 'kith restore FILE --phrase-file FILE (or --key-file FILE)',
    })
  }
  try {
    return withPhrase(parsePhrase(asked))
  } finally {
    asked.wipe()
  }
}

async function sealPassphrase(context: CommandContext, options: Options): Promise<Secret> {
  const file = options.text('seal-passphrase-file')
  if (file !== undefined) return readPassphraseFile(resolve(context.cwd, file))
  const asked = context.terminal.interactive ? await context.terminal.askSecret('Passphrase of the backup: ', context.signal) : undefined
  if (asked !== undefined) return asked
  throw new KithError('PASSPHRASE_REQUIRED', 'The backup was sealed with a passphrase of its own.', { next: 'kith restore FILE --seal-passphrase-file FILE' })
}

/** The phrase of the home that is there, by its passphrase. */
async function ownPhrase(context: CommandContext, options: Options): Promise<Secret> {
  const passphrase = await findPassphrase(context, options)
  try {
    const home = await homeView(context.home)
    if (home === undefined) throw new KithError('IDENTITY_MISSING', undefined, { next: 'kith init' })
    using identity = await openIdentity(home, { passphrase: passphrase.secret })
    const phrase = identity.phrase()
    if (phrase !== undefined) return phrase
    throw new KithError('PASSPHRASE_REQUIRED', 'This identity has no recovery phrase; the backup opens with a key it was sealed to.', {
      next: 'kith snapshot verify --key-file FILE',
    })
  } finally {
    passphrase.secret.wipe()
  }
}

function withPhrase(phrase: Secret): OpeningKeys {
  const seed = phraseToSeed(phrase)
  const key = deriveBackupKey(seed)
  seed.wipe()
  return { identities: [new X25519Identity(key)], phrase, [Symbol.dispose]: () => wipeAll([phrase, key]) }
}

function withKeys(keys: readonly Secret[]): OpeningKeys {
  return { identities: keys.map((key) => new X25519Identity(key)), phrase: undefined, [Symbol.dispose]: () => wipeAll(keys) }
}

function wipeAll(secrets: readonly Secret[]): void {
  for (const secret of secrets) secret.wipe()
}

function withPassphrase(passphrase: Secret): OpeningKeys {
  return { identities: [new PatientScryptIdentity(passphrase)], phrase: undefined, [Symbol.dispose]: () => passphrase.wipe() }
}

/** A foreign cost or kind of seal is a matter of the backup, not of a key file. */
class PatientScryptIdentity extends ScryptIdentity {
  override async unwrapFileKey(stanzas: Parameters<ScryptIdentity['unwrapFileKey']>[0]): ReturnType<ScryptIdentity['unwrapFileKey']> {
    try {
      return await super.unwrapFileKey(stanzas)
    } catch (cause) {
      throw new KithError('BACKUP_DAMAGED', 'the first lines of the backup are damaged, or ask for more work than is sensible', {
        details: { reason: 'header' },
        cause,
        next: 'use another copy of the file',
      })
    }
  }
}

/** One line of words, 0600; `-` is not taken, since the backup may come that way. */
export async function readPhraseFile(path: string): Promise<Secret> {
  const bytes = await readSecret(path, MAX_PHRASE_BYTES)
  try {
    return parsePhrase(bytes)
  } finally {
    bytes.wipe()
  }
}

async function readKeys(path: string): Promise<readonly Secret[]> {
  const file = await readSecret(path, MAX_KEY_FILE_BYTES)
  try {
    return file.use(parseKeyFile)
  } finally {
    file.wipe()
  }
}

/** A file or pipe with a secret, straight into guarded memory. @throws KithError `FILE_MISSING`, `HOME_UNSAFE`, `USAGE`. */
async function readSecret(path: string, limit: number): Promise<Secret> {
  const file = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new KithError('FILE_MISSING', `${path} cannot be read: ${cause.code === 'ENOENT' ? 'it does not exist' : cause.code}.`, {
      details: { path },
      next: `ls -l ${path}`,
      cause,
    })
  })
  const buffer = Buffer.alloc(limit + 1)
  try {
    const info = await file.stat()
    if (info.isFile() && process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
      throw new KithError('HOME_UNSAFE', `${path} can be read by other users`, { details: { path }, next: `chmod 600 ${path}` })
    }
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read) read = (await file.read(buffer, length, buffer.length - length, null)).bytesRead
    if (length > limit || length === 0) throw new KithError('USAGE', `${path} is empty or longer than ${limit} bytes.`, { next: 'kith restore --help' })
    return Secret.take(buffer.subarray(0, length))
  } finally {
    buffer.fill(0)
    await file.close()
  }
}
