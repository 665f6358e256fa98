import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Random } from '../../core/random.ts'
import { removeStaleSocket } from '../../core/stale-socket.ts'
import type { NodeContext } from '../context.ts'
import type { ControlHttp } from './http.ts'
import { type ControlPlace, endpointOf } from './place.ts'
import type { RouteTable } from './route.ts'

const MAX_CONNECTIONS = 256

export interface ControlServerOptions {
  readonly place: ControlPlace
  readonly token: string
  readonly routes: RouteTable
  readonly context: NodeContext
  readonly logger: Logger
  /** Default: the system's. */
  readonly random?: Random
}

export interface ControlServer {
  readonly socket: string
  close(): Promise<void>
}

/**
 * HTTP/1.1 with JSON on a socket that only this user can reach. The caller holds the home's lock, so a socket file that nobody answers on is
 * left over from a run that was killed, and is replaced. What speaks HTTP is a fifth of an idle node's memory, so it is loaded when the first client comes.
 * @throws KithError `DAEMON_RUNNING` when somebody answers there all the same; `HOME_UNSAFE` when what lies there is no socket.
 */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const socket = endpointOf(options.place, options.token)
  await makeWay(socket)
  const listener = createServer({ pauseOnConnect: true, allowHalfOpen: true })
  listener.maxConnections = MAX_CONNECTIONS
  let http: Promise<ControlHttp> | undefined
  listener.on('connection', (connection: Socket) => {
    http ??= import('./http.ts').then(({ openControlHttp }) => openControlHttp(options))
    connection.on('error', ignore)
    http.then(
      (ready) => {
        connection.off('error', ignore)
        ready.serve(connection)
      },
      (error: unknown) => {
        options.logger.error('control interface failed', { message: error instanceof Error ? error.message : 'unknown' })
        connection.destroy()
      },
    )
  })
  // The directory is ours alone already; the mask closes the socket itself too, for systems that look at it.
  const mask = process.umask(0o077)
  try {
    listener.listen(socket)
    await once(listener, 'listening')
  } finally {
    process.umask(mask)
  }
  const close = async (): Promise<void> => {
    const ended = once(listener, 'close')
    listener.close()
    await (await http?.catch(() => undefined))?.close()
    await ended
  }
  return { socket, close }
}

async function makeWay(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const found = await removeStaleSocket(path)
  if (found === 'other') throw new KithError('HOME_UNSAFE', `${path} is not a socket.`, { details: { path }, next: `rm ${path}` })
  if (found === 'live')
    throw new KithError('DAEMON_RUNNING', 'Another process answers on the control socket of this home.', { details: { path }, next: 'kith down' })
}

function ignore(): void {}
