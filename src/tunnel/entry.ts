import type { Socket } from 'node:net'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Did } from '../identity/did.ts'
import type { LinkStream } from '../transport/types.ts'
import type { Connections } from './connections.ts'
import { Attempt } from './dial.ts'
import { type LocalListener, listenLocal } from './listener.ts'
import { abortSocket, readLocal } from './local-socket.ts'
import { explain, type Opener, type StreamOpener } from './opener.ts'
import { splice } from './splice.ts'
import type { ForwardTarget } from './target.ts'
import type { ForwardRequest } from './wire.ts'

export interface CarrierOptions {
  readonly mesh: StreamOpener
  readonly opener: Opener
  readonly connections: Connections
  readonly logger: Logger
}

export interface EntryOptions extends CarrierOptions {
  readonly peer: Did
  readonly target: ForwardTarget
  /** Where to listen; port 0 for any. */
  readonly local: ForwardTarget
}

/** Listens on this machine and carries each connection over the link. @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
export async function openEntry(options: EntryOptions): Promise<LocalListener> {
  const request: ForwardRequest = { kind: 'connect', ...options.target }
  return await listenLocal(options.local, (socket) => void carry(options, request, socket))
}

async function carry(options: EntryOptions, request: ForwardRequest, socket: Socket): Promise<void> {
  const { mesh, opener, connections, peer, target } = options
  const attempt = new Attempt()
  const { meter, leave } = connections.enter(() => {
    attempt.abort()
    abortSocket(socket)
  })
  socket.once('close', () => {
    attempt.abort()
    leave()
  })
  const failed = (error: KithError): void => noteFailure(options, peer, explain(error, mesh, peer, target))
  let stream: LinkStream
  try {
    stream = await opener.open(peer, request, attempt)
  } catch (error) {
    if (!attempt.aborted) failed(asKithError(error, 'PEER_UNREACHABLE'))
    abortSocket(socket)
    return
  }
  join(socket, stream, meter, (error) => {
    if (error?.remote === true) failed(error)
  })
}

/** Joins a local socket with a stream that has been opened for it. */
export function join(socket: Socket, stream: LinkStream, meter: { bytesIn: number; bytesOut: number }, done: (error: KithError | null) => void): void {
  if (socket.destroyed) {
    stream.reset(new KithError('ABORTED').number)
    return
  }
  const joined = splice(socket, stream, { meter, resume: () => socket.resume(), done })
  socket.once('end', joined.localEnded)
  readLocal(socket, joined.fromLocal)
}

/** Where the connection was to go is the owner's business alone and does not stand in the log. */
export function noteFailure({ connections, logger }: CarrierOptions, peer: Did, error: KithError): void {
  connections.lastError = error
  logger.info('forwarded connection failed', { peer, code: error.code })
}
