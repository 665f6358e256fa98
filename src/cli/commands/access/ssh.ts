import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { fingerprint, parsePublicKeyLine } from '../../../access/ssh-wire.ts'
import { isKithError, KithError } from '../../../core/errors.ts'
import { parseMoment } from '../../../mesh/policy-conditions.ts'
import type { Options } from '../../options.ts'
import type { CommandHandler } from '../../spec.ts'
import { refusedLines, sshRows, tellTaken } from './rows.ts'

const MAX_FILE_BYTES = 16_384
const HELP = 'kith access ssh add --help'

export const add: CommandHandler = async ({ daemon, output, cwd }, { args, options }) => {
  const key = await readLine(resolve(cwd, args[0] ?? ''))
  const words = optionWords(options)
  const line = words.length === 0 ? key : `${words.join(',')} ${key}`
  const result = await (await daemon()).call('POST /v1/access/ssh/add', { line })
  output.result(
    result,
    (palette) => `${palette.good('added')}  ${result.fingerprint}  ${result.authority ? 'signs certificates' : 'logs in'}`,
    result.fingerprint,
  )
  return undefined
}

export const list: CommandHandler = async ({ daemon, output, command }) => {
  const { ssh_keys, refused } = await (await daemon()).call('GET /v1/access', {})
  output.result(
    { ssh_keys, refused },
    (palette, columns) => {
      const lines = [...sshRows(ssh_keys, palette, columns), ...refusedLines(refused, palette)]
      return lines.length === 0 ? palette.quiet(`no SSH keys: ${command('kith access ssh add FILE')}`) : lines
    },
    ssh_keys.map(({ fingerprint }) => fingerprint).join('\n') || undefined,
  )
  return undefined
}

export const remove: CommandHandler = async (context, { args, options }) => {
  const daemon = await context.daemon()
  const wanted = (await named(args[0] ?? '', context.cwd)).replace(/^ssh:/, '')
  const result = await daemon.call('POST /v1/access/ssh/remove', { fingerprint: wanted, disconnect_revoked: options.flag('disconnect-revoked') })
  tellTaken(context, result)
  const left = (await daemon.call('GET /v1/access', {})).ssh_keys.find(({ fingerprint: other }) => other === wanted)
  if (left !== undefined) context.output.note(`It still stands in ${left.place}. To keep it out: ${context.command(`kith access ssh revoke ${wanted}`)}`)
  return undefined
}

export const revoke: CommandHandler = async (context, { args, options }) => {
  const result = await (await context.daemon()).call('POST /v1/access/ssh/revoke', {
    line: await named(args[0] ?? '', context.cwd),
    disconnect_revoked: options.flag('disconnect-revoked'),
  })
  tellTaken(context, result)
  return undefined
}

/** The fingerprint of the key in a file, when one is named; anything else as it is. */
async function named(text: string, cwd: string): Promise<string> {
  if (!text.endsWith('.pub')) return text
  const file = resolve(cwd, text)
  try {
    return fingerprint(parsePublicKeyLine(await readLine(file)))
  } catch (cause) {
    if (isKithError(cause, 'SSH_FORMAT')) throw new KithError('USAGE', `There is no Ed25519 key in ${file}.`, { next: 'kith access ssh list', cause })
    throw cause
  }
}

/** Options of a line as `authorized_keys` has them. */
function optionWords(options: Options): readonly string[] {
  const [principals, from, until] = [options.text('principals'), options.text('from'), options.text('until')]
  for (const value of [principals, from]) if (value?.includes('"') === true) throw new KithError('USAGE', 'Names and addresses have no quotes.', { next: HELP })
  return [
    ...(options.flag('authority') ? ['cert-authority'] : []),
    ...(options.flag('no-forwarding') ? ['no-port-forwarding'] : []),
    ...(principals === undefined ? [] : [`principals="${principals}"`]),
    ...(from === undefined ? [] : [`from="${from}"`]),
    ...(until === undefined ? [] : [`expiry-time="${expiry(until)}"`]),
  ]
}

function expiry(text: string): string {
  try {
    return new Date(parseMoment(text)).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  } catch (error) {
    if (error instanceof TypeError) throw new KithError('USAGE', `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`, { next: HELP })
    throw error
  }
}

async function readLine(file: string): Promise<string> {
  try {
    const { size } = await stat(file)
    const lines = size > MAX_FILE_BYTES ? [] : (await readFile(file, 'utf8')).split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
    if (lines.length === 1) return (lines[0] as string).trim()
  } catch (cause) {
    throw new KithError('NOT_FOUND', `The file cannot be read: ${file}.`, { next: HELP, cause })
  }
  throw new KithError('USAGE', `Expected one line of a public key in ${file}.`, { next: HELP })
}
