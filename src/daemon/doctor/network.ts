import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { PEER_PORT } from '../ports.ts'
import { bad, type Check, type DoctorCheck, fine } from './types.ts'

/** A datagram to ourselves arrives at once or never. */
const UDP_WAIT_MS = 1_000
const MDNS_PORT = 5353
const MDNS_GROUP = '224.0.0.251'

/** The addresses the node would listen on: free, or taken by whom it matters. */
export const checkPorts: Check = async ({ config, daemon }) => {
  if (daemon !== undefined && daemon.listen.length > 0) return fine('ports', `the node listens on ${daemon.listen.join(', ')}`)
  const wanted = config.listen.length > 0 ? config.listen.map(parseListen) : [{ scheme: 'tcp', host: '0.0.0.0', port: PEER_PORT }]
  const found: DoctorCheck[] = []
  for (const { scheme, host, port } of wanted) {
    if (port === 0) continue
    const error = scheme === 'quic' || scheme === 'udx' ? await tryUdp(host, port) : await tryTcp(host, port)
    if (error === undefined) continue
    const taken = error === 'EADDRINUSE'
    const help = config.listen.length > 0 ? `kith up --listen ${scheme}://${host}:${port + 1}` : 'kith up (it takes the next free port and says which)'
    found.push(bad('ports', `${scheme}://${host}:${port} ${taken ? 'is taken by another program' : `cannot be used (${error})`}`, help))
  }
  return found.length > 0 ? found : fine('ports', `free: ${wanted.map(({ scheme, host, port }) => `${scheme}://${host}:${port}`).join(', ')}`)
}

/** Whether datagrams leave and arrive on this machine at all. */
export const checkUdp: Check = async ({ signal }) => {
  const next = 'allow UDP in the firewall of this machine; links over tcp work without it'
  const receiver = createSocket('udp4')
  const sender = createSocket('udp4')
  try {
    await bindUdp(receiver, '127.0.0.1', 0)
    const arrived = once(receiver, 'message', { signal: AbortSignal.any([signal, AbortSignal.timeout(UDP_WAIT_MS)]) })
    const { port } = receiver.address()
    sender.send('kith', port, '127.0.0.1')
    await arrived
    return fine('udp', 'a datagram to this machine arrives')
  } catch (error) {
    return bad('udp', `UDP is blocked on this machine (${reasonOf(error)})`, next)
  } finally {
    close(receiver)
    close(sender)
  }
}

/** Whether this machine may take part in multicast DNS. */
export const checkMdns: Check = async ({ config }) => {
  if (!config['discovery.mdns']) return fine('mdns', 'switched off (discovery.mdns)')
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    await bindUdp(socket, '0.0.0.0', MDNS_PORT)
    socket.addMembership(MDNS_GROUP)
    return fine('mdns', 'multicast on the local network can be used')
  } catch (error) {
    return bad('mdns', `multicast DNS cannot be used (${reasonOf(error)})`, 'set discovery.mdns = false, or let the other program share UDP port 5353')
  } finally {
    close(socket)
  }
}

function parseListen(url: string): { scheme: string; host: string; port: number } {
  const match = /^([a-z0-9+.-]+):\/\/(.+):(\d+)$/.exec(url)
  return { scheme: match?.[1] ?? 'tcp', host: (match?.[2] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port: Number(match?.[3] ?? 0) }
}

function tryTcp(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(reasonOf(error)))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

async function tryUdp(host: string, port: number): Promise<string | undefined> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  try {
    await bindUdp(socket, host, port)
    return undefined
  } catch (error) {
    return reasonOf(error)
  } finally {
    close(socket)
  }
}

function bindUdp(socket: Socket, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(port, host, () => {
      socket.off('error', reject)
      // From here on an error means what the caller waits for does not come.
      socket.on('error', () => {})
      resolve()
    })
  })
}

function close(socket: Socket): void {
  try {
    socket.close()
  } catch {
    // It never opened.
  }
}

function reasonOf(error: unknown): string {
  const { code, name } = error as { code?: string; name?: string }
  return name === 'AbortError' || name === 'TimeoutError' ? 'no answer' : (code ?? 'unknown reason')
}
