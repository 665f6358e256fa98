import type { Duplex } from 'node:stream'
import type ssh2 from 'ssh2'
import type { Caller } from '../access/types.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { join } from './join.ts'
import { failureReason, type Openings } from './openings.ts'
import { heldBack, type Outlet } from './outlet.ts'

/** Somewhere a caller wants to go: `HOST:PORT`, `[IPv6]:PORT` or `unix:/path`. */
export interface DialRequest {
  readonly caller: Caller
  readonly target: string
  readonly signal: AbortSignal
}

/** Asks the owner's rules, resolves, checks every address and dials the checked one. @throws KithError. */
export type DialTarget = (request: DialRequest) => Promise<{ readonly stream: Duplex; close(): void }>

export interface ForwardsOptions {
  readonly caller: Caller
  readonly dial: DialTarget | undefined
  /** Carries calls on a channel; absent where this door has none. */
  readonly control: ((channel: Duplex, caller: Caller) => void) | undefined
  readonly openings: Openings
  readonly outlet: Outlet
  /** Aborts when the connection is over. */
  readonly signal: AbortSignal
  /** A channel opened, or ended. */
  count(change: 1 | -1): void
}

/** Spelled exactly so; a host that only begins like these is an ordinary name, or reserved. */
const CONTROL_HOSTS: ReadonlySet<string> = new Set(['alknet-control', 'kith-control'])
const MAX_HOST = 255
const MAX_PORT = 65_535
/** Longest path of a socket (sun_path of Linux). */
const MAX_SOCKET_PATH = 107

/**
 * Channels that clients open: -L, -D, -W and ProxyJump to hosts (direct-tcpip) and to sockets (direct-streamlocal), and the control channel. A target is dialled
 * first and the channel confirmed when it answers, so that a client never holds a channel to nothing.
 */
export function serveForwards(connection: ssh2.Connection, options: ForwardsOptions): void {
  const { openings } = options
  connection.on('tcpip', (accept, reject, info) => {
    const sender = openings.current()
    if (CONTROL_HOSTS.has(info.destIP)) return openControl(accept, reject, sender, options)
    void open(() => targetOf(info.destIP, info.destPort), accept, reject, sender, options)
  })
  ;(connection as StreamlocalEvents).on('openssh.streamlocal', (accept, reject, info) => {
    const sender = openings.current()
    void open(() => socketTarget(info.socketPath), accept, reject, sender, options)
  })
}

interface StreamlocalEvents {
  on(event: 'openssh.streamlocal', listener: (accept: () => ssh2.Channel, reject: () => void, info: { readonly socketPath: string }) => void): void
}

/** @throws KithError `FORWARD_TARGET`: a port is 1 to 65,535; the wire would carry 32 bits. */
function targetOf(host: string, port: number): string {
  if (!Number.isInteger(port) || port < 1 || port > MAX_PORT || host.length === 0 || host.length > MAX_HOST) throw new KithError('FORWARD_TARGET')
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function socketTarget(path: string): string {
  if (!path.startsWith('/') || path.length > MAX_SOCKET_PATH || path.includes('\0')) throw new KithError('FORWARD_TARGET')
  return `unix:${path}`
}

async function open(target: () => string, accept: () => ssh2.Channel, reject: () => void, sender: number, options: ForwardsOptions): Promise<void> {
  const { caller, dial, openings, outlet, signal, count } = options
  try {
    if (dial === undefined) throw new KithError('FORWARD_DENIED')
    const { stream, close } = await dial({ caller, target: target(), signal })
    if (signal.aborted) return close()
    const channel = heldBack(accept(), outlet)
    count(1)
    const end = join(channel, stream, outlet, () => {
      signal.removeEventListener('abort', end)
      count(-1)
      close()
    })
    signal.addEventListener('abort', end, { once: true })
  } catch (error) {
    if (signal.aborted) return
    const failure = asKithError(error, 'FORWARD_UNREACHABLE')
    openings.refuse(sender, reject, failureReason(failure.code), new KithError(failure.code).message)
  }
}

function openControl(accept: () => ssh2.Channel, reject: () => void, sender: number, options: ForwardsOptions): void {
  const { control, caller, openings, outlet, count, signal } = options
  if (control === undefined) {
    openings.refuse(sender, reject, failureReason('CALL_DENIED'), 'no calls over this door')
    return
  }
  const channel = heldBack(accept(), outlet)
  count(1)
  channel.on('error', () => channel.close())
  const end = (): void => void channel.destroy()
  signal.addEventListener('abort', end, { once: true })
  channel.on('close', () => {
    signal.removeEventListener('abort', end)
    count(-1)
  })
  control(channel, caller)
}
