import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { KithError } from '../core/errors.ts'
import { errorText } from './answer.ts'
import { HEADERS_TIMEOUT_MS, KEEP_ALIVE_TIMEOUT_MS, MAX_CONNECTIONS, MAX_HEADER_BYTES, MAX_HEADERS, REQUEST_TIMEOUT_MS } from './limits.ts'
import { RequestDesk } from './requests.ts'
import type { GatewayOptions } from './types.ts'
import { SocketDoor, wantsSocket } from './web-socket.ts'

export interface Gateway {
  /** Listens on a loopback address; port 0 picks one. @throws KithError `BIND_REFUSED` for any other, or what the system says. */
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }>
  /** Requests being answered. */
  readonly inFlight: number
  /** Ends every request and connection. Idempotent. */
  close(): Promise<void>
}

/** Answers HTTP/1.1 for a callee: operations, event streams, their OpenAPI description and the Model Context Protocol. */
export function createGateway(options: GatewayOptions): Gateway {
  const desk = new RequestDesk(options)
  const sockets = new SocketDoor(options)
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: 2_000,
    // Which names it answers under is checked, with an answer in the one shape.
    requireHostHeader: false,
    joinDuplicateHeaders: false,
    noDelay: true,
    shouldUpgradeCallback: wantsSocket,
  })
  server.maxHeadersCount = MAX_HEADERS
  server.maxConnections = MAX_CONNECTIONS
  server.on('request', (request: IncomingMessage, response: ServerResponse) => desk.serve(request, response, false))
  // The body is asked for when its sender is known and its length is allowed.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => desk.serve(request, response, true))
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => desk.serve(request, response, false))
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => sockets.serve(request, stream, head))
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuseConnection(error, socket))
  let closing: Promise<void> | undefined
  return {
    get inFlight() {
      return desk.inFlight
    },
    async listen(host, port) {
      if (!isLoopbackHost(host)) {
        throw new KithError('BIND_REFUSED', 'The gateway listens on loopback only: it speaks plain HTTP.', {
          details: { host },
          next: 'kith up --gateway 127.0.0.1:PORT',
        })
      }
      server.listen({ host, port, exclusive: true })
      await once(server, 'listening')
      const { port: bound } = server.address() as AddressInfo
      return { host, port: bound }
    },
    close() {
      closing ??= end(server, desk, sockets)
      return closing
    },
  }
}

async function end(server: Server, desk: RequestDesk, sockets: SocketDoor): Promise<void> {
  const ended = server.listening ? once(server, 'close') : undefined
  server.close()
  sockets.close()
  await desk.close()
  server.closeAllConnections()
  await ended
}

/** Loopback by its address: what a name stands for can change. */
export function isLoopbackHost(host: string): boolean {
  return /^127(\.\d{1,3}){3}$/.test(host) || host === '::1'
}

const STATUS_LINES: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}
const NOT_UNDERSTOOD = errorText(new KithError('REQUEST_MALFORMED', 'The request is not understood.'))

/** What cannot be read as HTTP is answered in the same shape, and its connection ends. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = STATUS_LINES[error.code ?? ''] ?? '400 Bad Request'
  const head = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(NOT_UNDERSTOOD)}\r\ncache-control: no-store\r\nconnection: close`
  socket.end(`HTTP/1.1 ${status}\r\n${head}\r\n\r\n${NOT_UNDERSTOOD}`, () => socket.destroy())
}
