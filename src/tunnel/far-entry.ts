import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { asKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Connections } from './connections.ts'
import { type LocalListener, listenLocal } from './listener.ts'
import { abortSocket } from './local-socket.ts'
import type { Meter } from './splice.ts'
import type { ForwardTarget } from './target.ts'

/** A far side that is no peer: a server which opens connections for this node, such as one of SSH. */
export interface FarSide {
  /** What it is called in lists. */
  readonly name: string
  /** Whether it runs on this machine. */
  readonly here: boolean
  /** Gets ready, so that what is wrong is said when the forward is made and not when it is first used. @throws KithError. */
  check(signal: AbortSignal): Promise<void>
  /** What the owner has to do before `open` can succeed; absent while nothing is to be done. Asked often: answers from memory. */
  waiting?(): KithError | undefined
  /** A connection of its own from there to `target`. @throws KithError. */
  open(target: ForwardTarget): Promise<FarStream>
  close(): void
}

export interface FarStream {
  readonly stream: Duplex
  /** Aborts when what carries the stream broke: an end that follows is none. */
  readonly lost: AbortSignal
}

export interface FarEntryOptions {
  readonly far: FarSide
  readonly target: ForwardTarget
  readonly local: ForwardTarget
  readonly connections: Connections
  readonly logger: Logger
}

/** Listens on this machine and carries each connection through the far side. @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
export async function openFarEntry(options: FarEntryOptions): Promise<LocalListener> {
  return await listenLocal(options.local, (socket) => void carry(options, socket))
}

async function carry({ far, target, connections, logger }: FarEntryOptions, socket: Socket): Promise<void> {
  const { meter, leave } = connections.enter(() => abortSocket(socket))
  socket.once('close', leave)
  let opened: FarStream
  try {
    opened = await far.open(target)
  } catch (error) {
    if (!socket.destroyed) {
      const failure = asKithError(error, 'FORWARD_UNREACHABLE')
      // What is waited for is told for as long as it is, and not after.
      if (far.waiting?.()?.code !== failure.code) connections.lastError = failure
      // Where the connection was to go is the owner's business alone and does not stand in the log.
      logger.info('forwarded connection failed', { peer: far.name, code: failure.code })
    }
    abortSocket(socket)
    return
  }
  joinDuplex(socket, opened, meter, (error) => {
    connections.lastError = error
  })
}

/** Joins both ways with back-pressure; one direction may end before the other. */
function joinDuplex(socket: Socket, { stream, lost }: FarStream, meter: Meter, failed: (error: KithError) => void): void {
  if (socket.destroyed) {
    stream.destroy()
    return
  }
  const broke = (): void => {
    if (socket.destroyed || stream.readableEnded) return
    failed(new KithError('LINK_CLOSED'))
    abortSocket(socket)
  }
  lost.addEventListener('abort', broke, { once: true })
  socket.once('close', () => {
    lost.removeEventListener('abort', broke)
    stream.destroy()
  })
  stream.on('error', () => abortSocket(socket))
  stream.once('close', () => {
    if (!stream.readableEnded) abortSocket(socket)
  })
  socket.on('data', (chunk: Buffer) => {
    meter.bytesOut += chunk.length
  })
  stream.on('data', (chunk: Buffer) => {
    meter.bytesIn += chunk.length
  })
  socket.pipe(stream).pipe(socket)
  if (lost.aborted) broke()
}
