import { type AddressInfo, createServer, isIP, type Server, type Socket } from 'node:net'
import type ssh2 from 'ssh2'
import type { TcpipBindInfo } from 'ssh2'
import type { Caller } from '../access/types.ts'
import { join } from './join.ts'
import { heldBack, type Outlet } from './outlet.ts'

export interface ListenRequest {
  readonly caller: Caller
  /** An address of this machine. */
  readonly host: string
  readonly port: number
}

/** Whether the owner's rules let this caller listen there. */
export type MayListen = (request: ListenRequest) => Promise<boolean>

export interface RemoteForwardsOptions {
  readonly caller: Caller
  /** Absent: nobody listens through this door. */
  readonly mayListen: MayListen | undefined
  /** Whether addresses beyond loopback may be asked for at all. */
  readonly public: () => boolean
  readonly outlet: Outlet
  readonly most: number
  readonly signal: AbortSignal
  count(change: 1 | -1): void
}

/** Connections at one such port that wait for the client's answer or run. */
const MAX_CONNECTIONS = 256
const MAX_PORT = 65_535
const EVERYWHERE: ReadonlySet<string> = new Set(['', '*', '0.0.0.0'])

/** Ports opened here for a client (-R): connections to them become channels to the client. */
export function serveRemoteForwards(connection: ssh2.Connection, options: RemoteForwardsOptions): void {
  const { caller, mayListen, outlet, most, signal, count } = options
  /** By address and port as the client names them. */
  const listening = new Map<string, Server>()
  /** Those that the client was told of. */
  const open = new WeakSet<Server>()

  connection.on('request', (accept, reject, name, info) => {
    if (name === 'tcpip-forward') void listen(info as TcpipBindInfo, accept, reject)
    else if (name === 'cancel-tcpip-forward') cancel(info as TcpipBindInfo, accept, reject)
    else reject?.()
  })
  signal.addEventListener('abort', () => {
    for (const server of listening.values()) server.close()
    listening.clear()
  })

  async function listen({ bindAddr, bindPort }: TcpipBindInfo, accept: Accept, reject: Reject): Promise<void> {
    const host = addressOf(bindAddr)
    const wanted = keyOf(bindAddr, bindPort)
    const refused =
      host === undefined ||
      !Number.isInteger(bindPort) ||
      bindPort > MAX_PORT ||
      listening.size >= most ||
      (bindPort !== 0 && listening.has(wanted)) ||
      (!isLoopback(host) && !options.public())
    if (refused || mayListen === undefined || host === undefined) return reject?.()
    const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => arrived(server, socket, bindAddr))
    server.maxConnections = MAX_CONNECTIONS
    // Taken at once, so that requests that come together are counted together.
    const place = bindPort === 0 ? `${wanted} ${listening.size} ${Math.floor(performance.now())}` : wanted
    listening.set(place, server)
    try {
      if (bindPort !== 0 && !(await mayListen({ caller, host, port: bindPort }))) throw new Error('not allowed')
      await new Promise<void>((resolve, fail) => server.once('error', fail).listen({ host, port: bindPort, exclusive: true }, resolve))
    } catch {
      listening.delete(place)
      return reject?.()
    }
    server.on('error', () => {})
    const { port } = server.address() as AddressInfo
    // Which one a free port is, is known only now; nobody is let in before the answer.
    const allowed = bindPort !== 0 || (await mayListen({ caller, host, port }))
    if (signal.aborted || !listening.has(place) || !allowed) {
      server.close()
      listening.delete(place)
      reject?.()
      return
    }
    open.add(server)
    listening.delete(place)
    listening.set(keyOf(bindAddr, port), server)
    accept?.(port)
  }

  function cancel({ bindAddr, bindPort }: TcpipBindInfo, accept: Accept, reject: Reject): void {
    const server = listening.get(keyOf(bindAddr, bindPort))
    if (server === undefined) {
      reject?.()
      return
    }
    listening.delete(keyOf(bindAddr, bindPort))
    server.close()
    accept?.()
  }

  function arrived(server: Server, socket: Socket, bindAddr: string): void {
    const drop = (): void => void socket.destroy()
    socket.on('error', drop)
    if (signal.aborted || !open.has(server)) {
      drop()
      return
    }
    const { port } = server.address() as AddressInfo
    signal.addEventListener('abort', drop, { once: true })
    socket.once('close', () => signal.removeEventListener('abort', drop))
    connection.forwardOut(bindAddr, port, socket.remoteAddress ?? '', socket.remotePort ?? 0, (error, channel) => {
      if (error !== undefined) return drop()
      count(1)
      join(heldBack(channel, outlet), socket, outlet, () => count(-1))
      socket.resume()
    })
  }
}

type Accept = ((port?: number) => void) | undefined
type Reject = (() => void) | undefined

function keyOf(address: string, port: number): string {
  return `${address}|${port}`
}

/** RFC 4254, section 7.1: the empty address is every interface, `localhost` loopback. Names are not resolved. */
function addressOf(text: string): string | undefined {
  if (EVERYWHERE.has(text)) return '0.0.0.0'
  if (text === 'localhost') return '127.0.0.1'
  return isIP(text) === 0 ? undefined : text
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
