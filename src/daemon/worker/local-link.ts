import type { Socket } from 'node:net'
import type { PublicKey } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Did } from '../../identity/did.ts'
import type { Mesh } from '../../mesh/mesh-types.ts'
import type { LeanHandler, StreamContext } from '../../mesh/types.ts'
import { multiplex } from '../../transport/mux/connection.ts'
import { SocketPipe } from '../../transport/tls/socket-pipe.ts'
import { SocketWire } from '../../transport/tls/socket-wire.ts'
import type { LinkStream } from '../../transport/types.ts'

/**
 * # Link between the daemon and a process beside it
 *
 * The control socket, which only this user reaches and only with the token, is upgraded to the multiplexer; on its streams run the protocols that run between
 * machines (`icn/worker/1`, `icn/call/1`), so that a worker in a process is a worker like any other.
 *
 * ```text
 * control socket -> HTTP/1.1 upgrade kith-worker/1 -> multiplexer -> stream = u8 length || protocol || whatever it says
 * ```
 */
export interface LocalLink extends Pick<Mesh, 'openLean' | 'handleLean' | 'onEvent'> {
  readonly policy: Pick<Mesh['policy'], 'constraints' | 'onChange'>
  /** Resolves when it has ended, in whatever way. */
  readonly closed: Promise<void>
  close(): Promise<void>
}

export interface LocalLinkOptions {
  /** The daemon listens. */
  readonly role: 'dialer' | 'listener'
  /** Of this node. */
  readonly did: Did
  readonly clock: Clock
}

/** Requests at once that a process beside the daemon may have, times what calls make of one. */
const OUTSTANDING = 16
const STREAMS = 256
/** There is nobody to tell apart on this link. */
const NO_KEY: PublicKey = new Uint8Array(32) as PublicKey

/** Takes the connection over; `early` came behind the upgrade. */
export function createLocalLink(socket: Socket, early: Buffer, { role, did, clock }: LocalLinkOptions): LocalLink {
  const path = { scheme: 'local', address: 'local://control', direct: true }
  const pipe = new SocketPipe(new SocketWire(socket, clock), early)
  const info = { role, localKey: NO_KEY, remoteKey: NO_KEY, path, postQuantum: false }
  const connection = multiplex(pipe, info, clock, { maxInboundStreams: STREAMS, maxOutboundStreams: STREAMS })
  const handlers = new Map<string, LeanHandler>()
  const ended = new AbortController()
  const context: StreamContext = { peer: did, linkKey: NO_KEY, path, signal: ended.signal }
  connection.onStream = (stream) => accept(stream, handlers, context)
  return {
    policy: { constraints: () => ({ outstandingRequests: OUTSTANDING }) as ReturnType<Mesh['policy']['constraints']> },
    closed: connection.closed.then(() => ended.abort(new KithError('LINK_CLOSED'))),
    async openLean(_peer, protocol, options) {
      const stream = await connection.open(options)
      const name = Buffer.from(protocol, 'latin1')
      stream.write(Buffer.concat([Buffer.of(name.length), name]))
      return stream
    },
    handleLean(protocol, handler) {
      handlers.set(protocol, handler)
      return () => void handlers.delete(protocol)
    },
    // One connection never moves.
    onEvent: () => () => undefined,
    close: () => connection.close(),
  }
}

function accept(stream: LinkStream, handlers: ReadonlyMap<string, LeanHandler>, context: StreamContext): void {
  let head: Buffer = Buffer.alloc(0)
  stream.onEnd = () => stream.reset(new KithError('WIRE_MALFORMED').number)
  stream.onData = (data, start, end) => {
    const before = head.length
    head = Buffer.concat([head, data.subarray(start, end)])
    const length = head[0] ?? 0
    if (head.length < 1 + length) return
    stream.consume(1 + length)
    const handler = handlers.get(head.toString('latin1', 1, 1 + length))
    stream.onEnd = () => undefined
    stream.onData = () => undefined
    if (handler === undefined) {
      stream.reset(new KithError('PROTOCOL_UNKNOWN').number)
      return
    }
    handler(stream, context)
    const rest = start + 1 + length - before
    if (rest < end) stream.onData(data, rest, end)
  }
}
