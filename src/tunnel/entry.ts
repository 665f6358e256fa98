import { createServer, isIP, type Server, type Socket } from 'node:net'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import { type Did, shortDid } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import { readLocal } from './local-socket.ts'
import { splice } from './splice.ts'
import { type ForwardTarget, formatTarget } from './target.ts'
import { encodeRequest, FORWARD_PROTOCOL } from './wire.ts'

/** What a forward needs of the mesh. */
export interface StreamOpener {
  readonly did: Did
  /** What the owner calls a peer, for sentences. */
  nameOf?(peer: Did): string | undefined
  openLean(peer: Did, protocol: string, options: { signal?: AbortSignal }): Promise<LinkStream>
}

export interface EntryOptions {
  readonly mesh: StreamOpener
  readonly peer: Did
  readonly target: ForwardTarget
  /** `HOST:PORT` to listen on; port 0 for any. */
  readonly local: ForwardLocal
  readonly logger: Logger
}

export interface ForwardLocal {
  readonly host: string
  readonly port: number
}

export interface Entry {
  /** Where programs on this machine connect, as `HOST:PORT`. */
  readonly address: string
  readonly connections: number
  readonly total: number
  /** Why the last connection that failed did so. */
  readonly lastError: KithError | null
  /** Stops listening; connections that run go on. */
  drain(): void
  close(): Promise<void>
}

/** Connections at once through one forward; more wait in the listener's backlog. */
const MAX_CONNECTIONS = 1_024
const OPEN_TIMEOUT_MS = 15_000

/**
 * Asks the other side whether a connect would be allowed, so that a refusal is seen when the forward is made and not when it is first used.
 * @throws KithError `FORWARD_DENIED` with the other side's command in `next`, or whatever kept the peer from answering.
 */
export async function checkForward(mesh: StreamOpener, peer: Did, target: ForwardTarget, signal: AbortSignal): Promise<void> {
  const stream = await mesh.openLean(peer, FORWARD_PROTOCOL, { signal })
  try {
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => reject(signal.reason)
      signal.addEventListener('abort', abort, { once: true })
      const settle = (error?: KithError): void => {
        signal.removeEventListener('abort', abort)
        if (error === undefined) resolve()
        else reject(error)
      }
      stream.onData = (_data, start, end) => {
        stream.consume(end - start)
        settle()
      }
      stream.onEnd = () => settle(new KithError('FORWARD_DENIED', 'the other side closed without an answer'))
      stream.onError = (error) => settle(error)
      stream.write(encodeRequest({ kind: 'check', ...target }))
      stream.end()
    })
  } catch (error) {
    throw explain(asKithError(error, 'ABORTED'), mesh, peer, target)
  } finally {
    stream.reset(new KithError('ABORTED').number)
  }
}

/** A refusal arrives as a number; who must run which command on which machine is known here. */
function explain(error: KithError, mesh: StreamOpener, peer: Did, target: ForwardTarget): KithError {
  if (error.code !== 'FORWARD_DENIED' && error.code !== 'POLICY_DENIED') return error
  const text = formatTarget(target)
  return new KithError('FORWARD_DENIED', `this node may not reach ${text} through ${mesh.nameOf?.(peer) ?? shortDid(peer)}`, {
    remote: true,
    details: { peer, target: text },
    next: `on the other machine: kith allow ${mesh.did} forward ${text}`,
    cause: error,
  })
}

/** Listens on this machine and carries each connection over the link. @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
export async function openEntry(options: EntryOptions): Promise<Entry> {
  const { mesh, peer, target, logger } = options
  const sockets = new Set<Socket>()
  const aborter = new AbortController()
  let total = 0
  let lastError: KithError | null = null

  function failed(error: KithError): void {
    lastError = explain(error, mesh, peer, target)
    logger.info('forwarded connection failed', { peer, target: formatTarget(target), code: lastError.code, next: lastError.next ?? null })
  }

  async function carry(socket: Socket): Promise<void> {
    sockets.add(socket)
    total++
    socket.setNoDelay(true)
    socket.pause()
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
    let stream: LinkStream
    try {
      stream = await mesh.openLean(peer, FORWARD_PROTOCOL, { signal: AbortSignal.any([aborter.signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)]) })
    } catch (error) {
      failed(asKithError(error, 'PEER_UNREACHABLE'))
      socket.resetAndDestroy()
      return
    }
    if (socket.destroyed) {
      stream.reset(new KithError('ABORTED').number)
      return
    }
    stream.write(encodeRequest({ kind: 'connect', ...target }))
    const joined = splice(socket, stream, {
      resume: () => socket.resume(),
      done: (error) => {
        if (error?.remote === true) failed(error)
      },
    })
    socket.once('end', joined.localEnded)
    readLocal(socket, joined.fromLocal)
  }

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => void carry(socket))
  server.maxConnections = MAX_CONNECTIONS
  await listen(server, options.local)
  const bound = server.address()
  const address = typeof bound === 'object' && bound !== null ? formatTarget({ host: bound.address, port: bound.port }) : ''
  return {
    address,
    get connections() {
      return sockets.size
    },
    get total() {
      return total
    },
    get lastError() {
      return lastError
    },
    drain: () => void server.close(),
    async close() {
      aborter.abort(new KithError('CLOSED'))
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

const WHY_NOT: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EACCES: 'this account may not listen there',
  EADDRNOTAVAIL: 'this machine has no such address',
}

function listen(server: Server, local: ForwardLocal): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'EADDRINUSE' || cause.code === 'EACCES' ? 'ADDRESS_IN_USE' : 'ADDRESS_INVALID'
      reject(
        new KithError(code, `cannot listen on ${formatTarget(local)}: ${WHY_NOT[cause.code ?? ''] ?? cause.code ?? cause.message}`, {
          cause,
          next: 'choose another address with --local',
        }),
      )
    })
    server.listen({ host: local.host, port: local.port }, () => resolve())
  })
}

/** Whether an address is reachable from this machine alone. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1'
}
