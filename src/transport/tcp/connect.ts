import { createConnection, type Socket, type TcpNetConnectOpts } from 'node:net'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { connectSocket } from '../../stream/socket-reads.ts'
import { formatAddress, type HostPort } from './address.ts'

const CONNECT_MS = 10_000
/** RFC 8305, section 8: the next address is tried this long after the one before. */
const ATTEMPT_MS = 250

/** RFC 7686, section 2: such a name means something to Tor only, and no resolver may learn that somebody asked for it. */
const ONION = /\.onion\.?$/i

/**
 * A connected socket that reads into memory that its user gives. Names are resolved, IPv6 and IPv4 raced.
 * @throws KithError `ADDRESS_UNREACHABLE`; the signal's reason, at once.
 */
export function connect(target: HostPort, signal: AbortSignal, clock: Clock): Promise<Socket> {
  return connected(connectSocket, target, signal, clock)
}

/** The same for users of 'data' events and of `pipe`. Its halves end on their own. */
export function connectPlain(target: HostPort, signal: AbortSignal, clock: Clock): Promise<Socket> {
  return connected((options) => createConnection({ ...options, allowHalfOpen: true, noDelay: true }), target, signal, clock)
}

function connected(open: (options: TcpNetConnectOpts) => Socket, { host, port }: HostPort, signal: AbortSignal, clock: Clock): Promise<Socket> {
  const target = { host, port }
  if (ONION.test(host)) return Promise.reject(needsTor(target))
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const socket = open({ ...target, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ATTEMPT_MS })
    const settle = (): void => {
      deadline.cancel()
      signal.removeEventListener('abort', abort)
      socket.off('connect', ready)
      socket.off('close', closed)
    }
    const fail = (error: unknown): void => {
      settle()
      socket.destroy()
      reject(error)
    }
    const ready = (): void => {
      settle()
      resolve(socket)
    }
    let cause: unknown
    const closed = (): void => fail(unreachable(target, cause))
    const abort = (): void => fail(signal.reason)
    const deadline = clock.after(CONNECT_MS, () => fail(unreachable(target, undefined, 'no answer')))
    signal.addEventListener('abort', abort, { once: true })
    // Stays for good: an error that nobody listens to would end the process.
    socket.on('error', (error) => {
      cause ??= error
    })
    socket.on('connect', ready)
    socket.on('close', closed)
  })
}

function needsTor(target: HostPort): KithError {
  return new KithError('ADDRESS_UNREACHABLE', 'An onion address is reached through Tor only, and no proxy is set.', {
    details: { address: formatAddress(target), reason: 'onion' },
    next: 'set link.proxy to ["socks5://127.0.0.1:9050"] and run kith config reload',
  })
}

function unreachable(target: HostPort, cause: unknown, reason = systemCode(cause)): KithError {
  return new KithError('ADDRESS_UNREACHABLE', undefined, { cause, details: { address: formatAddress(target), reason } })
}

/** `ECONNREFUSED` and the like, for `why`. */
export function systemCode(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : 'unknown'
}
