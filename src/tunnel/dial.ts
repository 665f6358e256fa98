import { connect, type Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { asKithError, KithError } from '../core/errors.ts'
import { isLoopback as isLoopbackAddress, parseIp } from '../mesh/ip.ts'
import { connectSocket } from '../stream/socket-reads.ts'
import type { Checked } from './gate.ts'
import { isOnion, isReserved, socketPath } from './target.ts'

/** Opens a connection to an address through the owner's outbound proxy. @throws KithError. */
export type Outbound = (options: { readonly host: string; readonly port: number; readonly signal: AbortSignal }) => Promise<Socket>

/** A dial under way; whoever no longer wants it ends it at once, without a signal of its own for every connection. */
export class Attempt {
  aborted = false
  #onAbort: (() => void) | undefined

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    this.#onAbort?.()
  }

  onAbort(run: (() => void) | undefined): void {
    this.#onAbort = run
    if (this.aborted) run?.()
  }
}

export interface DialChecked {
  readonly attempt: Attempt
  /** Whether the socket reads into given memory (`readLocal`); false gives an ordinary `Duplex`. */
  readonly lean: boolean
  readonly timeoutMs: number
  readonly clock: Clock
  /** Absent: directly. */
  readonly outbound: Outbound | undefined
}

/** Each address gets at least this long, however many there are. */
const LEAST_MS = 2_000

/**
 * Dials what was checked, in turn; the first that answers wins. Through an outbound proxy the checked address is named, never the name, so that the
 * proxy cannot be led elsewhere; this machine's own loopback and sockets of the file system are never asked of a proxy. An onion address has no address
 * that could be checked, and goes to the proxy as it was written.
 * @throws KithError `FORWARD_REFUSED`, `FORWARD_UNREACHABLE`, `FORWARD_ONION`.
 */
export async function dialChecked({ target, addresses }: Checked, options: DialChecked): Promise<Socket> {
  const path = socketPath(target)
  if (path !== undefined) return await dialOne(options, { path }, options.timeoutMs).catch(explain)
  if (isReserved(target.host)) throw new KithError('FORWARD_UNREACHABLE')
  if (isOnion(target.host)) {
    const place = { host: target.host.replace(/\.$/, ''), port: target.port }
    if (options.outbound === undefined) throw new KithError('FORWARD_ONION')
    return await dialThrough(options.outbound, options, place, options.timeoutMs)
  }
  const share = Math.max(LEAST_MS, options.timeoutMs / addresses.length)
  let last: unknown
  for (const host of addresses) {
    if (options.attempt.aborted) break
    try {
      const { outbound } = options
      const place = { host, port: target.port }
      return outbound === undefined || isOwn(host) ? await dialOne(options, place, share) : await dialThrough(outbound, options, place, share)
    } catch (error) {
      last = error
    }
  }
  return explain(last)
}

function isOwn(host: string): boolean {
  const address = parseIp(host)
  return address !== undefined && isLoopbackAddress(address)
}

function explain(cause: unknown): never {
  if (cause instanceof KithError && cause.code !== 'ABORTED') throw cause
  const { code } = (cause ?? {}) as NodeJS.ErrnoException
  throw new KithError(code === 'ECONNREFUSED' || code === 'ENOENT' ? 'FORWARD_REFUSED' : 'FORWARD_UNREACHABLE', undefined, { cause })
}

function dialOne({ lean, attempt }: DialChecked, place: { host: string; port: number } | { path: string }, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const options = { ...place, allowHalfOpen: true, noDelay: true }
    const socket = lean && 'host' in place ? connectSocket(place) : connect(options as Parameters<typeof connect>[0] & object)
    const fail = (error?: Error): void => {
      attempt.onAbort(undefined)
      socket.off('error', fail)
      socket.on('error', () => {})
      socket.destroy()
      reject(error ?? new KithError('ABORTED'))
    }
    attempt.onAbort(() => fail())
    socket.setTimeout(timeoutMs, () => fail(new Error('the target did not answer in time')))
    socket.once('error', fail)
    socket.once('connect', () => {
      attempt.onAbort(undefined)
      socket.setTimeout(0)
      socket.removeAllListeners('timeout')
      socket.off('error', fail)
      resolve(socket)
    })
  })
}

async function dialThrough(outbound: Outbound, { attempt, clock }: DialChecked, place: { host: string; port: number }, timeoutMs: number): Promise<Socket> {
  const aborter = new AbortController()
  const timer = clock.after(timeoutMs, () => aborter.abort(new KithError('FORWARD_UNREACHABLE')))
  attempt.onAbort(() => aborter.abort(new KithError('ABORTED')))
  try {
    const socket = await outbound({ ...place, signal: aborter.signal })
    if (!attempt.aborted) return socket
    socket.destroy()
    throw new KithError('ABORTED')
  } catch (error) {
    if (attempt.aborted) throw new KithError('ABORTED')
    throw new KithError('FORWARD_UNREACHABLE', 'the outbound proxy did not connect', { cause: asKithError(error, 'FORWARD_UNREACHABLE') })
  } finally {
    timer.cancel()
    attempt.onAbort(undefined)
  }
}
