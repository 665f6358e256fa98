import { constants } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import { resolve } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import { Secret } from '../../../core/secret.ts'
import { readPassphraseFile } from '../../../identity/passphrase.ts'
import { type EncryptedData, parseEncryptedData } from '../../../vault/encrypted-data.ts'
import type { KeyType } from '../../../vault/key-cache.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import type { CommandHandler } from '../../spec.ts'
import { withVault } from './desk.ts'

const MAX_PLAINTEXT_BYTES = 1_048_576
/** 1 MiB in base64, with what stands around it. */
const MAX_FORM_BYTES = 1_500_000
const LINE_FEED = 0x0a

export const derive: CommandHandler = async (context, { args, options }) => {
  const [path] = args as [string]
  const type = typeOf(options.text('type'))
  const view = await withVault(context, options, (desk) => desk.derive(path, type))
  context.output.result(view, (palette) => `${view.public_key}  ${palette.quiet(`${view.type}, ${view.path}`)}`, view.public_key)
  return undefined
}

export const encrypt: CommandHandler = async (context, { args, options }) => {
  const bytes = await readAll(context, args[0], MAX_PLAINTEXT_BYTES)
  if (bytes.length === 0) throw new KithError('USAGE', 'There is nothing to encrypt: the input is empty.', { next: 'kith vault encrypt --help' })
  const plaintext = Secret.take(bytes)
  try {
    const data = await withVault(context, options, (desk) => desk.encrypt(plaintext, options.count('key-version')))
    await giveForm(context, options, data)
  } finally {
    plaintext.wipe()
  }
  return undefined
}

export const decrypt: CommandHandler = async (context, { args, options }) => {
  mayShow(context, options, 'decrypt')
  const data = await readForm(context, args[0])
  const secret = await withVault(context, options, (desk) => desk.decrypt(data))
  try {
    await giveSecret(context, options, secret, false)
  } finally {
    secret.wipe()
  }
  return undefined
}

export const rotate: CommandHandler = async (context, { args, options }) => {
  const file = options.text('password-file')
  const data = await readForm(context, args[0])
  if (file === undefined) {
    await giveForm(context, options, await withVault(context, options, (desk) => desk.rotate(data, options.count('key-version'))))
    return undefined
  }
  const body = importBody(file, data)
  try {
    await giveForm(context, options, await withVault(context, options, (desk) => desk.import(body)))
  } finally {
    body.wipe()
  }
  return undefined
}

export const sitePassword: CommandHandler = async (context, { args, options }) => {
  mayShow(context, options, 'site-password')
  const [site] = args as [string]
  const [version, length] = [options.count('generation'), options.count('length')]
  const wanted = { ...(version === undefined ? {} : { version }), ...(length === undefined ? {} : { length }) }
  const secret = await withVault(context, options, (desk) => desk.sitePassword(site, wanted))
  try {
    await giveSecret(context, options, secret, true)
  } finally {
    secret.wipe()
  }
  return undefined
}

function typeOf(text: string | undefined): KeyType | undefined {
  if (text === undefined || text === 'ed25519' || text === 'secp256k1') return text
  throw new KithError('USAGE', '--type takes ed25519 or secp256k1.', { next: 'kith vault derive --help' })
}

function mayShow({ json }: CommandContext, options: Options, command: string): void {
  if (!json || options.text('out') !== undefined) return
  throw new KithError('USAGE', 'A secret is never written into JSON; --out FILE writes it to a file.', { next: `kith vault ${command} --help` })
}

function importBody(file: string, data: EncryptedData): Secret {
  const password = readPassphraseFile(file)
  const form = Buffer.from(JSON.stringify(data))
  const body = Secret.alloc(password.length + 1 + form.length)
  body.fill((target) => {
    password.use((bytes) => target.set(bytes))
    target[password.length] = LINE_FEED
    target.set(form, password.length + 1)
  })
  password.wipe()
  return body
}

async function readForm(context: CommandContext, file: string | undefined): Promise<EncryptedData> {
  return parseEncryptedData((await readAll(context, file, MAX_FORM_BYTES)).toString('utf8'))
}

/** A file, or standard input; the caller's to zero. */
async function readAll(context: CommandContext, file: string | undefined, limit: number): Promise<Buffer> {
  if (file === undefined || file === '-') return await context.terminal.readInput(limit, context.signal)
  const handle = await open(resolve(context.cwd, file), 'r').catch((cause: NodeJS.ErrnoException) => {
    throw new KithError('USAGE', `${file} cannot be read: ${cause.code ?? 'unknown'}.`, { details: { file }, cause })
  })
  try {
    const buffer = Buffer.alloc(limit + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read) read = (await handle.read(buffer, length, buffer.length - length)).bytesRead
    if (length > limit) throw new KithError('USAGE', `${file} is longer than ${limit} bytes.`, { details: { file } })
    return buffer.subarray(0, length)
  } finally {
    await handle.close()
  }
}

async function giveForm(context: CommandContext, options: Options, data: EncryptedData): Promise<void> {
  const file = options.text('out')
  if (file !== undefined) await writeNew(context, file, Buffer.from(`${JSON.stringify(data)}\n`))
  context.output.result(data, (palette) => (file === undefined ? JSON.stringify(data) : `${palette.good('written')}  ${file}`), JSON.stringify(data))
}

/** Writes a secret to where it was asked for. On a terminal and for a password, a line of its own. */
async function giveSecret(context: CommandContext, options: Options, secret: Secret, line: boolean): Promise<void> {
  const file = options.text('out')
  const copy = secret.use((bytes) => Buffer.from(bytes))
  try {
    if (file === undefined) {
      context.terminal.writeBytes(copy)
      if (line || context.terminal.visible) context.terminal.write('\n')
      return
    }
    await writeNew(context, file, copy)
    context.output.result({ file, bytes: secret.length }, (palette) => `${palette.good('written')}  ${file}`)
  } finally {
    copy.fill(0)
  }
}

/** A file that was not there, for its owner alone. @throws KithError `USAGE` when it exists. */
async function writeNew({ cwd }: CommandContext, file: string, content: Uint8Array): Promise<void> {
  const path = resolve(cwd, file)
  const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600).catch(
    (cause: NodeJS.ErrnoException) => {
      const reason = cause.code === 'EEXIST' ? 'it exists' : (cause.code ?? 'unknown')
      throw new KithError('USAGE', `${file} cannot be made: ${reason}.`, { details: { file }, next: 'another name or folder: --out FILE', cause })
    },
  )
  try {
    await handle.writeFile(content)
    await handle.sync()
  } catch (cause) {
    // Part of a secret is of no use and must not stay.
    await unlink(path).catch(() => undefined)
    throw new KithError('STORE_FAILED', `${file} cannot be written; nothing was left there.`, {
      details: { file },
      next: 'another disk or folder: --out FILE',
      cause,
    })
  } finally {
    await handle.close()
  }
}
