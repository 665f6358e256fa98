import { lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { KithError } from '../core/errors.ts'
import { type ForwardTarget, formatTarget, socketPath } from './target.ts'

/** Where programs of this machine connect: a TCP port, or a socket of the file system that only this account may open. */
export interface LocalListener {
  /** `HOST:PORT` as bound, or `unix:/path`. */
  readonly address: string
  readonly port: number
  /** Stops accepting; what was accepted goes on. */
  stop(): void
  close(): Promise<void>
}

/** Connections at once through one forward; more wait in the listener's backlog. */
export const MAX_CONNECTIONS = 1_024

/** @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
export async function listenLocal(local: ForwardTarget, onSocket: (socket: Socket) => void): Promise<LocalListener> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    socket.on('error', () => {})
    onSocket(socket)
  })
  server.maxConnections = MAX_CONNECTIONS
  const path = socketPath(local)
  if (path === undefined) await listen(server, { host: local.host, port: local.port }, formatTarget(local))
  else await listenSocket(server, path, local)
  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  const address = typeof bound === 'object' && bound !== null ? formatTarget({ host: bound.address, port }) : formatTarget(local)
  let closed: Promise<void> | undefined
  const stop = (): void => {
    closed ??= new Promise((resolve) => server.close(() => resolve()))
  }
  return {
    address,
    port,
    stop,
    async close() {
      stop()
      await closed
    },
  }
}

/** A socket that a crash left behind is replaced; one that answers is not. */
async function listenSocket(server: Server, path: string, local: ForwardTarget): Promise<void> {
  try {
    await listen(server, { path }, formatTarget(local))
  } catch (error) {
    if (!(error instanceof KithError) || error.code !== 'ADDRESS_IN_USE' || !(await isLeftBehind(path))) throw error
    await unlink(path)
    await listen(server, { path }, formatTarget(local))
  }
}

async function isLeftBehind(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isSocket() !== true) return false
  return await new Promise((resolve) => {
    const probe = connect({ path })
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', (cause: NodeJS.ErrnoException) => resolve(cause.code === 'ECONNREFUSED'))
  })
}

const WHY_NOT: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EACCES: 'this account may not listen there',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOENT: 'its directory does not exist',
}

function listen(server: Server, place: { host: string; port: number } | { path: string }, shown: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: NodeJS.ErrnoException): void => {
      const code = cause.code === 'EADDRINUSE' || cause.code === 'EACCES' ? 'ADDRESS_IN_USE' : 'ADDRESS_INVALID'
      reject(
        new KithError(code, `cannot listen on ${shown}: ${WHY_NOT[cause.code ?? ''] ?? cause.code ?? cause.message}`, {
          cause,
          next: 'choose another address with --local',
        }),
      )
    }
    server.once('error', fail)
    // The socket of a path is made within this call and belongs to this account alone from its first moment.
    const before = 'path' in place ? process.umask(0o177) : undefined
    server.listen(place, () => {
      server.off('error', fail)
      // Accepting can fail later, when there are no more file descriptors: those connections are lost, the listener is not.
      server.on('error', () => {})
      resolve()
    })
    if (before !== undefined) process.umask(before)
  })
}
