import type { Socket } from 'node:net'
import { KithError } from '../core/errors.ts'
import type { LinkStream } from '../transport/types.ts'
import { abortSocket } from './local-socket.ts'
import { LocalWriter } from './local-writer.ts'

/**
 * Joins a local socket with a stream of a link until both directions have ended.
 *
 * Back-pressure holds both ways: a full link stops the local reader, and credit for the link's bytes is returned only when the local socket took them.
 * Bytes for the local socket go through recycled buffers, because what the link hands out is valid only during the call.
 */
export interface Splice {
  /** Bytes read from the local socket. `data` is valid only during the call; false means: stop reading until `resume`. */
  fromLocal(data: Uint8Array, length: number): boolean
  /** The local socket ended its writing half. */
  localEnded(): void
}

/** Bytes carried, for the list; `in` comes from the link. */
export interface Meter {
  bytesIn: number
  bytesOut: number
}

export interface SpliceOptions {
  readonly meter: Meter
  /** Called when the local side may be read again. */
  resume(): void
  /** Both directions have ended; the error is what the other side or the socket reported, if anything. */
  done(error: KithError | null): void
}

export function splice(socket: Socket, stream: LinkStream, options: SpliceOptions): Splice {
  const { meter } = options
  let finished = false
  let failure: KithError | null = null

  const finish = (): void => {
    if (finished) return
    finished = true
    options.done(failure)
  }

  const local = new LocalWriter(socket, (length) => stream.consume(length))
  stream.onData = (data, start, end) => {
    meter.bytesIn += end - start
    local.write(data, start, end)
  }
  stream.onEnd = () => {
    local.flush()
    socket.end()
  }
  stream.onDrain = () => options.resume()
  stream.onError = (error, direction) => {
    failure ??= error
    // A whole stream that failed becomes a reset of the local connection, so that the program behind it does not take it for a clean end.
    if (direction === 'both') abortSocket(socket)
  }
  stream.onClose = () => {
    if (socket.destroyed || socket.writableFinished) finish()
  }
  socket.on('error', (cause) => {
    failure ??= new KithError('STREAM_RESET', 'the local connection failed', { cause })
  })
  socket.on('close', (hadError) => {
    // An orderly close has already passed its end on; anything else must not leave the peer waiting.
    if (hadError || !socket.readableEnded) stream.reset(new KithError('STREAM_RESET').number)
    finish()
  })
  return {
    fromLocal(data, length) {
      meter.bytesOut += length
      return stream.write(data, 0, length)
    },
    localEnded: () => stream.end(),
  }
}
