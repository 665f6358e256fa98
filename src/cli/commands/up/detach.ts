import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { KithError } from '../../../core/errors.ts'
import { makeFolder } from '../../../core/make-folder.ts'
import { checkHome, homePaths, makeHome } from '../../../identity/home.ts'
import type { CommandContext } from '../../context.ts'
import type { Options } from '../../options.ts'
import { findPassphrase } from '../../passphrase.ts'
import { type Ready, tellReady } from './ready.ts'

/** Set for the process in the background: it reports over its channel and then stands alone. */
export const DETACHED = 'KITH_DETACHED'
/** Opening the keys takes up to a second; a slow machine may need several. */
const READY_MS = 60_000

/**
 * Starts the same command in the background, waits until it is ready, and leaves. What the other process writes by itself goes to `log/up.log` of the home.
 * A locked node is unlocked from here, over the control interface, when there is somebody to ask.
 */
export async function detach(context: CommandContext, options: Options): Promise<number | undefined> {
  const { root, log } = homePaths(context.home)
  // Before anything is written there: in a home of somebody else the log could be a link.
  makeHome(root)
  await checkHome(root)
  makeFolder(log)
  const file = openSync(join(log, 'up.log'), 'a', 0o600)
  const args = ['up', '--home', root, '--json', ...options.list('listen').flatMap((url) => ['--listen', url])]
  if (options.flag('no-gateway')) args.push('--no-gateway')
  const gateway = options.text('gateway')
  if (gateway !== undefined) args.push('--gateway', gateway)
  const passphraseFile = options.text('passphrase-file')
  if (passphraseFile !== undefined) args.push('--passphrase-file', passphraseFile)
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] as string, ...args], {
    detached: true,
    stdio: ['ignore', file, file, 'ipc'],
    env: { ...context.env, [DETACHED]: '1' },
  })
  closeSync(file)
  const ready = await new Promise<Ready>((resolve, reject) => {
    const timer = setTimeout(() => fail(new KithError('TIMEOUT', 'The node was not ready in time.', { next: 'kith logs' })), READY_MS)
    const fail = (error: KithError): void => {
      clearTimeout(timer)
      reject(error)
    }
    child.once('message', (message: Ready | { error: { code: KithError['code']; message: string; next: string | null; details: KithError['details'] } }) => {
      clearTimeout(timer)
      if ('event' in message) return resolve(message)
      const { code, message: sentence, next, details } = message.error
      reject(new KithError(code, sentence, { details, ...(next === null ? {} : { next }) }))
    })
    child.once('error', (cause) => fail(new KithError('INTERNAL', 'The background process could not be started.', { cause })))
    child.once('exit', (status) =>
      fail(new KithError('INTERNAL', `The background process ended with status ${status ?? 'none'}; its words are in ${join(log, 'up.log')}.`)),
    )
    context.signal.addEventListener('abort', () => reject(context.signal.reason), { once: true })
  })
  child.removeAllListeners()
  if (child.connected) child.disconnect()
  child.unref()
  tellReady(context, await unlocked(context, options, ready))
  return undefined
}

async function unlocked(context: CommandContext, options: Options, ready: Ready): Promise<Ready> {
  if (!context.terminal.interactive || context.yes || !ready.degraded.some(({ code }) => code === 'IDENTITY_LOCKED')) return ready
  const passphrase = await findPassphrase(context, options)
  try {
    const client = await context.daemon()
    await client.callWithSecret('POST /v1/identity/unlock', {}, passphrase.secret)
    const { did, name, listen, degraded } = await client.call('GET /v1/status', {})
    return { ...ready, did, name, listen, degraded }
  } finally {
    passphrase.secret.wipe()
  }
}
