import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'
import type { Caller } from '../access/types.ts'
import { DEFAULT_ENVELOPE_BYTES } from '../call/envelope.ts'
import { createEnvelopeSession, type EnvelopeSession } from '../call/envelope-session.ts'
import { KithError } from '../core/errors.ts'
import { errorHeaders, errorText, outward, statusOf } from './answer.ts'
import { Budget } from './budget.ts'
import { bearerOf, HostGuard } from './guards.ts'
import { DEFAULT_LIMITS, MAX_SOCKETS, MAX_SOCKETS_PER_CALLER } from './limits.ts'
import { MessageDuplex } from './message-duplex.ts'
import { presentationOf } from './presentation.ts'
import type { GatewayOptions } from './types.ts'

/** Where WebSockets are opened. Operations have two segments, so none is hidden behind it. */
export const SOCKET_PATH = '/v1/socket'

/** Whether a request is for a WebSocket. Any other that names another protocol is answered as if it did not. */
export function wantsSocket({ url = '', headers }: IncomingMessage): boolean {
  return url === SOCKET_PATH && headers.upgrade?.toLowerCase() === 'websocket'
}

/**
 * The open form of calls by WebSocket (RFC 6455): each text message is one envelope of `src/call/envelope.ts`, without the length before it.
 *
 * ```text
 * Host, Origin -> caller (Bearer) -> room for one more, its share -> 101 -> envelopes
 * ```
 * Its key stands in the handshake, so nothing is read of anybody unknown.
 */
export class SocketDoor {
  readonly #options: GatewayOptions
  readonly #budget: Budget
  readonly #hosts: HostGuard
  readonly #sessions: Set<EnvelopeSession> = new Set()
  #server: Promise<WebSocketServer> | undefined
  #closed = false

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#budget = new Budget({ ...DEFAULT_LIMITS, inFlight: MAX_SOCKETS, inFlightPerAddress: MAX_SOCKETS, inFlightPerCaller: MAX_SOCKETS_PER_CALLER })
    this.#hosts = new HostGuard(options.hosts ?? [])
  }

  /** Sockets that are open. */
  get open(): number {
    return this.#sessions.size
  }

  close(): void {
    this.#closed = true
    for (const session of this.#sessions) session.close()
  }

  /** Never throws. */
  serve(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    stream.on('error', ignore)
    this.#serve(request, stream, head).catch((error: unknown) => this.#refuse(stream, error))
  }

  async #serve(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const { identities, callee, clock } = this.#options
    this.#hosts.check(request.headers)
    if (request.method !== 'GET') throw new KithError('METHOD_REFUSED', 'This takes GET.', { details: { allow: 'GET' } })
    const text = bearerOf(request.headers)
    const caller = text === undefined ? undefined : await identities.resolve(presentationOf(text))
    if (caller === undefined) throw new KithError('GATEWAY_UNAUTHORIZED', 'A token is needed: Authorization: Bearer TOKEN.')
    const leave = this.#enter(request.socket.remoteAddress ?? '', caller)
    try {
      const duplex = await this.#upgrade(request, stream, head)
      const session = createEnvelopeSession(duplex, { callee, caller, clock })
      this.#sessions.add(session)
      await session.closed
      this.#sessions.delete(session)
    } finally {
      leave()
    }
  }

  #enter(address: string, { id }: Caller): () => void {
    if (this.#closed) throw new KithError('GATEWAY_BUSY', 'The gateway closes.')
    this.#budget.enter(address)
    try {
      this.#budget.enterCaller(id)
    } catch (error) {
      this.#budget.leave(address)
      throw error
    }
    return () => {
      this.#budget.leaveCaller(id)
      this.#budget.leave(address)
    }
  }

  /** @throws KithError `REQUEST_MALFORMED` for a handshake that is none, `CLOSED` when the client went away. */
  async #upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<MessageDuplex> {
    const { headers } = request
    if (headers['sec-websocket-version'] !== '13' || !/^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? ''))
      throw new KithError('REQUEST_MALFORMED', 'The handshake of the WebSocket is not understood.')
    this.#server ??= import('ws').then(
      (library) =>
        new library.WebSocketServer({
          noServer: true,
          clientTracking: false,
          perMessageDeflate: false,
          maxPayload: DEFAULT_ENVELOPE_BYTES,
          handleProtocols: () => false,
        }),
    )
    const server = await this.#server
    if (stream.destroyed || this.#closed) throw new KithError('CLOSED')
    let duplex: MessageDuplex | undefined
    server.handleUpgrade(request, stream, head, (socket) => {
      duplex = new MessageDuplex(socket, this.#options.clock)
    })
    if (duplex === undefined) throw new KithError('REQUEST_MALFORMED', 'The handshake of the WebSocket is not understood.')
    return duplex
  }

  #refuse(stream: Duplex, error: unknown): void {
    if (stream.destroyed || !stream.writable) {
      stream.destroy()
      return
    }
    const known = outward(error)
    const text = errorText(known)
    const extra = errorHeaders(known)
    const lines = [`HTTP/1.1 ${statusOf(known.code)} Refused`, 'content-type: application/json', `content-length: ${Buffer.byteLength(text)}`]
    for (let i = 0; i < extra.length; i += 2) lines.push(`${extra[i]}: ${extra[i + 1]}`)
    stream.end(`${[...lines, 'cache-control: no-store', 'connection: close'].join('\r\n')}\r\n\r\n${text}`, () => stream.destroy())
  }
}

function ignore(): void {}
