import type { Socket } from 'node:net'
import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { connectSocket } from '../../stream/socket-reads.ts'
import { formatAddress, type HostPort } from './address.ts'

const CONNECT_MS = 10_000
/** RFC 8305, section 8: the next address is tried this long after the one before. */
const ATTEMPT_MS = 250

/**
 * A connected socket. Names are resolved, IPv6 and IPv4 raced.
 * @throws KithError `ADDRESS_UNREACHABLE`; the signal's reason, at once.
 */
export function connect(target: HostPort, signal: AbortSignal, clock: Clock): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const socket = connectSocket({ ...target, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: ATTEMPT_MS })
    const settle = (): void => {
      deadline.cancel()
      signal.removeEventListener('abort', abort)
      socket.off('connect', connected)
      socket.off('close', closed)
    }
    const fail = (error: unknown): void => {
      settle()
      socket.destroy()
      reject(error)
    }
    const connected = (): void => {
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
    socket.on('connect', connected)
    socket.on('close', closed)
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
