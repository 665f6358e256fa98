import { createSocket, type Socket } from 'node:dgram'
import { createServer } from 'node:net'
import type { Config } from '../config/settings.ts'
import { PEER_PORT, rememberedPort } from '../ports.ts'

export interface ListenAddress {
  readonly scheme: string
  /** Without brackets. */
  readonly host: string
  readonly port: number
}

/** Where a node of this home would listen: as configured, else the peer port that it had last, over TCP and UDP; and where it looks like a website. */
export async function wantedAddresses(home: string, config: Config): Promise<readonly ListenAddress[]> {
  const front = config['front.listen'] === '' ? [] : [parseListen(`https://${config['front.listen']}`)]
  if (config.listen.length > 0) return [...config.listen.map(parseListen), ...front]
  const port = (await rememberedPort(home)) ?? PEER_PORT
  return [...['tcp', 'quic'].map((scheme) => ({ scheme, host: '0.0.0.0', port })), ...front]
}

export function parseListen(url: string): ListenAddress {
  const match = /^([a-z0-9+.-]+):\/\/(.+):(\d+)$/.exec(url)
  return { scheme: match?.[1] ?? 'tcp', host: (match?.[2] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port: Number(match?.[3] ?? 0) }
}

export function isUdp({ scheme }: ListenAddress): boolean {
  return scheme === 'quic' || scheme === 'udx'
}

/** The system's reason why nothing can listen there; undefined when it can. */
export async function tryListen(address: ListenAddress): Promise<string | undefined> {
  return isUdp(address) ? await tryUdp(address) : await tryTcp(address)
}

function tryTcp({ host, port }: ListenAddress): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(reasonOf(error)))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

async function tryUdp({ host, port }: ListenAddress): Promise<string | undefined> {
  const socket = udpSocket(host)
  try {
    await bindUdp(socket, host, port)
    return undefined
  } catch (error) {
    return reasonOf(error)
  } finally {
    closeUdp(socket)
  }
}

export function udpSocket(host: string): Socket {
  return createSocket(host.includes(':') ? 'udp6' : 'udp4')
}

export function bindUdp(socket: Socket, host: string, port: number): Promise<void> {
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

export function closeUdp(socket: Socket): void {
  try {
    socket.close()
  } catch {
    // It never opened.
  }
}

export function reasonOf(error: unknown): string {
  const { code, name } = error as { code?: string; name?: string }
  return name === 'AbortError' || name === 'TimeoutError' ? 'no answer' : (code ?? 'unknown reason')
}
