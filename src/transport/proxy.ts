import { isIP, type Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { isKithError, KithError } from '../core/errors.ts'
import { SocketBytes } from './proxy/bytes.ts'
import { httpConnectHop } from './proxy/http-connect.ts'
import { type ProxyTarget, socksHop } from './proxy/socks.ts'
import type { ProxyUrl } from './proxy/url.ts'
import { connectPlain } from './tcp/connect.ts'

export { ProxyUrl, parseProxy } from './proxy/url.ts'

/** Tor builds a circuit before it answers: longer than a connection by itself may take. */
const TIMEOUT_MS = 20_000
export const MAX_PROXIES = 8

export interface ThroughOptions extends ProxyTarget {
  readonly signal: AbortSignal
  readonly clock: Clock
  /** From the first packet to the last answer of a proxy. Default 20 s. */
  readonly timeoutMs?: number
}

/**
 * A connection to `host:port` through the proxies in their order, or a direct one when there are none. Only the first proxy's name is resolved on this machine;
 * everything behind it is asked for by name. The socket carries whatever the target said meanwhile, keeps its halves apart, and no error on it can end
 * the process.
 *
 * ```text
 * here ==TCP==> proxies[0] ==> proxies[1] ==> host:port
 * ```
 *
 * @throws KithError `PROXY_UNREACHABLE`, `PROXY_AUTH`, `PROXY_REFUSED`, `PROXY_INVALID`, `ADDRESS_UNREACHABLE`; the signal's reason, at once.
 */
export async function connectThrough(proxies: readonly ProxyUrl[], options: ThroughOptions): Promise<Socket> {
  const { host, port, signal, clock } = options
  if (proxies.length > MAX_PROXIES) throw new TypeError(`at most ${MAX_PROXIES} proxies stand in one chain`)
  signal.throwIfAborted()
  const target = { host, port }
  const [first] = proxies
  if (first === undefined) return await connectPlain(target, signal, clock)
  const late = new AbortController()
  const timer = clock.after(options.timeoutMs ?? TIMEOUT_MS, () => late.abort(unanswered(proxies)))
  const stop = AbortSignal.any([signal, late.signal])
  try {
    const socket = await reach(first, stop, clock)
    return await throughAll(socket, proxies, target, stop)
  } finally {
    timer.cancel()
  }
}

async function reach(proxy: ProxyUrl, signal: AbortSignal, clock: Clock): Promise<Socket> {
  try {
    return await connectPlain(proxy, signal, clock)
  } catch (error) {
    if (signal.aborted || !(error instanceof KithError)) throw error
    const reason = error.details.reason ?? 'unknown'
    throw new KithError('PROXY_UNREACHABLE', `The proxy ${proxy} cannot be reached (${reason}).`, {
      details: { proxy: proxy.toString(), reason },
      cause: error,
    })
  }
}

async function throughAll(socket: Socket, proxies: readonly ProxyUrl[], target: ProxyTarget, signal: AbortSignal): Promise<Socket> {
  const bytes = new SocketBytes(socket)
  const abort = (): void => bytes.fail(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    signal.throwIfAborted()
    for (const [at, proxy] of proxies.entries()) {
      const next = proxies[at + 1]
      if (next === undefined) await hop(bytes, proxy, target)
      else await hop(bytes, proxy, next).catch((error: unknown) => Promise.reject(beforeNext(error, proxy, next)))
    }
    await bytes.release()
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** What a proxy could not reach is another proxy. */
function beforeNext(error: unknown, proxy: ProxyUrl, next: ProxyUrl): unknown {
  if (!isKithError(error, 'ADDRESS_UNREACHABLE')) return error
  const reason = error.details.reason ?? 'unknown'
  const details = { proxy: next.toString(), reason }
  return new KithError('PROXY_UNREACHABLE', `The proxy ${next} cannot be reached through ${proxy} (${reason}).`, { details, cause: error })
}

function hop(bytes: SocketBytes, proxy: ProxyUrl, next: ProxyTarget): Promise<void> {
  return proxy.scheme === 'socks5' ? socksHop(bytes, proxy, next) : httpConnectHop(bytes, proxy, next)
}

function unanswered(proxies: readonly ProxyUrl[]): KithError {
  return new KithError('PROXY_UNREACHABLE', `No connection came through ${proxies.join(', then ')} in time.`, { details: { reason: 'no answer' } })
}

/** Which targets are dialled past the proxies, and through which proxies the others go. */
export interface ProxyRoute {
  /** The proxies for this host; none means a direct connection. */
  for(host: string): readonly ProxyUrl[]
}

/** Addresses of one machine or one network: a proxy elsewhere means other machines by them. */
const LOCAL_NAME = 'localhost'
const LOOPBACK = '127.0.0.1'

/**
 * Sends everything through the proxies but what is named by a direct address (`isDirect`). Names are never resolved to find out: they go through, `localhost`
 * apart, which means the loopback address.
 */
export function proxyRoute(proxies: readonly ProxyUrl[], isDirect: (address: string) => boolean): ProxyRoute {
  return {
    for(host) {
      const address = host.toLowerCase() === LOCAL_NAME ? LOOPBACK : host
      return isIP(address) !== 0 && isDirect(address) ? [] : proxies
    },
  }
}
