import { createSocket } from 'node:dgram'
import type { Endpoint } from './address.ts'

/** Neither a QUIC long header nor long enough for an answer: every QUIC endpoint drops it. */
const PROBE = Buffer.of(0)

/**
 * Calls `refused` when the machine at `endpoint` says that nothing listens on the port (ICMP port unreachable). The library never looks at such
 * answers and waits until its own time is over; a connected socket of the system hears them. Ends with `signal`.
 */
export function watchRefusal(endpoint: Endpoint, port: number, signal: AbortSignal, refused: () => void): void {
  if (signal.aborted) return
  const socket = createSocket(endpoint.family === 6 ? 'udp6' : 'udp4')
  const close = (): void => {
    signal.removeEventListener('abort', close)
    socket.close()
  }
  signal.addEventListener('abort', close, { once: true })
  socket.unref()
  socket.once('error', (error: NodeJS.ErrnoException) => {
    socket.on('error', () => undefined)
    close()
    if (error.code === 'ECONNREFUSED') refused()
  })
  socket.connect(port, endpoint.ip, () => {
    if (!signal.aborted) socket.send(PROBE, () => undefined)
  })
}
