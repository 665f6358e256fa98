import { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { Clock } from '../../core/clock.ts'
import type { UpgradeHandler, UpgradeRequest } from '../front/types.ts'
import { isKeyedPath } from './address.ts'
import { INCOMING_LIMITS, WebSocketDuplex } from './duplex.ts'

/** Accepts WebSockets at one path and leaves every other request to the site, also those at the path that are no WebSocket's. */
export function keyedUpgrade(path: string, clock: Clock, onStream: (stream: Duplex, source: Parameters<UpgradeHandler>[3]) => void): UpgradeHandler {
  const server = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, ...INCOMING_LIMITS })
  return (request, stream, head, source) => {
    const right = isKeyedPath(request.target, path)
    if (!right || !isHandshake(request)) return false
    const message = new IncomingMessage(stream as Socket)
    message.method = request.method
    message.url = request.target
    Object.assign(message.headers, request.headers)
    server.handleUpgrade(message, stream, head, (socket) => onStream(new WebSocketDuplex(socket, clock), source))
    return true
  }
}

/** RFC 6455, 4.2.1: what the library would refuse by an answer of its own is none here. */
function isHandshake({ headers }: UpgradeRequest): boolean {
  if (headers['sec-websocket-protocol'] !== undefined) return false
  const tokens = (headers.connection ?? '').toLowerCase().split(/, */)
  return tokens.includes('upgrade') && headers['sec-websocket-version'] === '13' && /^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '')
}
