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
  /** Calls back when what `mayListen` says may have changed; returns the way to stop. */
  readonly onRules: (changed: () => void) => () => void
  readonly outlet: Outlet
  readonly most: number
  readonly signal: AbortSignal
  count(change: 1 | -1): void
}

/** Connections at one such port that wait for the client's answer or run. */
const MAX_CONNECTIONS = 256
const MAX_PORT = 65_535
const EVERYWHERE: ReadonlySet<string> = new Set(['', '*', '0.0.0.0'])

/** One port, and what runs over it. */
interface Listening {
  readonly server: Server
  readonly host: string
  readonly sockets: Set<Socket>
  /** The client was told of it; nobody is let in before. */
  open: boolean
}

/** Ports opened here for a client (-R): connections to them become channels to the client, for as long as the owner's rules allow it. */
export function serveRemoteForwards(connection: ssh2.Connection, options: RemoteForwardsOptions): void {
  const { caller, mayListen, outlet, most, signal, count } = options
  /** By address and port as the client names them; by a number of their own until the system has chosen the port. */
  const listening = new Map<string, Listening>()
  let asked = 0

  connection.on('request', (accept, reject, name, info) => {
    if (name === 'tcpip-forward') void listen(info as TcpipBindInfo, accept, reject)
    else if (name === 'cancel-tcpip-forward') cancel(info as TcpipBindInfo, accept, reject)
    else reject?.()
  })
  const stopWatching = options.onRules(() => {
    for (const [place, one] of listening) if (one.open) void review(place, one)
  })
  signal.addEventListener('abort', () => {
    stopWatching()
    for (const { server } of listening.values()) server.close()
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
    const server = createServer({ noDelay: true, allowHalfOpen: true, pauseOnConnect: true }, (socket) => arrived(one, socket, bindAddr))
    server.maxConnections = MAX_CONNECTIONS
    const one: Listening = { server, host, sockets: new Set(), open: false }
    // Taken at once, so that requests that come together are counted together.
    const place = bindPort === 0 ? `${wanted} ${++asked}` : wanted
    listening.set(place, one)
    /** Not when it was taken back, and asked for anew, meanwhile. */
    const held = (): boolean => listening.get(place) === one
    const forget = (): void => {
      if (held()) listening.delete(place)
      server.close()
      reject?.()
    }
    try {
      if (bindPort !== 0 && !(await mayListen({ caller, host, port: bindPort }))) return forget()
      if (!held()) return forget()
      await new Promise<void>((resolve, fail) => server.once('error', fail).listen({ host, port: bindPort, exclusive: true }, resolve))
      server.on('error', () => {})
      const { port } = server.address() as AddressInfo
      // Which one a free port is, is known only now.
      const allowed = bindPort !== 0 || (await mayListen({ caller, host, port }))
      if (signal.aborted || !held() || !allowed) return forget()
      one.open = true
      listening.delete(place)
      listening.set(keyOf(bindAddr, port), one)
      accept?.(port)
    } catch {
      forget()
    }
  }

  /** The rules have changed: a port that they do not allow any more closes, and what runs over it ends. */
  async function review(place: string, one: Listening): Promise<void> {
    const { server, host, sockets } = one
    const { port } = server.address() as AddressInfo
    const allowed = await mayListen?.({ caller, host, port }).catch(() => false)
    if (allowed === true) return
    if (listening.get(place) === one) listening.delete(place)
    one.open = false
    server.close()
    for (const socket of sockets) socket.destroy()
  }

  function cancel({ bindAddr, bindPort }: TcpipBindInfo, accept: Accept, reject: Reject): void {
    const found = listening.get(keyOf(bindAddr, bindPort))
    if (found === undefined) {
      reject?.()
      return
    }
    listening.delete(keyOf(bindAddr, bindPort))
    found.server.close()
    accept?.()
  }

  function arrived(one: Listening, socket: Socket, bindAddr: string): void {
    const drop = (): void => void socket.destroy()
    socket.on('error', drop)
    if (signal.aborted || !one.open) {
      drop()
      return
    }
    const { port } = one.server.address() as AddressInfo
    one.sockets.add(socket)
    signal.addEventListener('abort', drop, { once: true })
    socket.once('close', () => {
      one.sockets.delete(socket)
      signal.removeEventListener('abort', drop)
    })
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
