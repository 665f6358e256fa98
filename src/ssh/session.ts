import type { Duplex } from 'node:stream'
import type ssh2 from 'ssh2'
import type { Caller } from '../access/types.ts'
import type { Callee } from '../call/types.ts'
import type { Logger } from '../core/observe/log.ts'
import { runExec } from './exec.ts'
import { EXEC_HELP } from './exec-line.ts'
import { heldBack, type Outlet } from './outlet.ts'

/** Serves SFTP on a channel; resolves when the client is done. */
export type ServeSftp = (channel: Duplex, caller: Caller, signal: AbortSignal) => Promise<void>

export interface SessionsOptions {
  readonly caller: Caller
  readonly callee: Callee | undefined
  readonly sftp: ServeSftp | undefined
  readonly outlet: Outlet
  /** Aborts when the connection is over. */
  readonly signal: AbortSignal
  readonly logger: Logger
  count(change: 1 | -1): void
}

const HINT = `There is no shell here: ssh NODE ops lists what you may call, ssh -L and sftp work. ${EXEC_HELP}`

/**
 * Session channels: `exec` of the commands this door knows, and the `sftp` subsystem. A login without a command is told so and ends. Terminals, environment,
 * agents and X11 are refused by the library, because nobody listens for them here.
 */
export function serveSessions(connection: ssh2.Connection, options: SessionsOptions): void {
  connection.on('session', (accept) => {
    const session = accept()
    session.on('error', () => {})
    session.on('exec', (take, _reject, { command }) => {
      const channel = take()
      if (channel !== undefined) void run(channel, options, (signal) => runExec(command, channel, { ...options, signal }))
    })
    session.on('shell', (take) => {
      const channel = take()
      if (channel === undefined) return
      void run(channel, options, async () => {
        channel.stderr.write(`${HINT}\r\n`)
        return 1
      })
    })
    session.on('subsystem', (take, refuse, { name }) => {
      const { sftp } = options
      if (name !== 'sftp' || sftp === undefined) return refuse?.()
      const channel = take()
      if (channel !== undefined)
        void run(channel, options, async (signal) => {
          await sftp(channel, options.caller, signal)
          return 0
        })
    })
  })
}

/** One command on its channel, with an end of its own when the client closes it. */
async function run(
  channel: ssh2.ServerChannel,
  { signal, count, logger, outlet }: SessionsOptions,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<void> {
  heldBack(channel, outlet)
  const over = new AbortController()
  const end = (): void => over.abort()
  count(1)
  channel.on('error', end)
  channel.on('close', end)
  signal.addEventListener('abort', end, { once: true })
  try {
    const status = await work(over.signal)
    if (over.signal.aborted) return
    channel.exit(status)
    channel.end()
  } catch (error) {
    logger.warn('SSH session failed', { error })
    channel.exit(1)
    channel.end()
  } finally {
    signal.removeEventListener('abort', end)
    // What the client still sends is thrown away, so that the channel can close.
    channel.resume()
    if (over.signal.aborted) channel.destroy()
    count(-1)
  }
}
