import type { Duplex } from 'node:stream'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { type Logger, silentLogger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Signer } from '../core/signer.ts'
import { requestLocate } from '../stream/locate.ts'
import type { FrontPool } from './front/pool.ts'
import { connectThrough, type ProxyRoute } from './proxy.ts'
import { acceptStack, dialStack } from './stack.ts'
import type { Channel, DialOptions, Listener, ListenOptions, Transport } from './types.ts'
import { formatWssAddress, parseWssAddress, parseWssListenAddress, TOKEN_BYTES } from './wss/address.ts'
import { connectWebSocket } from './wss/connect.ts'
import { WssListener } from './wss/listener.ts'

export interface WssTransportOptions {
  /** The link key. */
  readonly signer: Signer
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
  /** Ports with a site; without one nothing can be listened on. */
  readonly fronts?: FrontPool
  /** What opens the door here, 24 bytes: part of the addresses that are handed out. Without it nothing can be listened on. */
  readonly token?: Uint8Array
  /** The proxies to dial through; absent: none. */
  readonly proxies?: ProxyRoute
  /** PEM of the authorities that vouch for sites, in place of the runtime's own; asked for each dial. Undefined: those. */
  readonly authorities?: () => Promise<string | undefined>
}

/**
 * Links inside WebSockets on an ordinary HTTPS site, at a path that only who has the address can name: `wss://HOST:PORT/TOKEN`. Everybody else finds the site.
 * Inside runs the same encrypted stream as over TCP, so TLS is what it looks like, not what protects it.
 */
export function createWssTransport(options: WssTransportOptions): Transport {
  const { signer, clock, random, logger = silentLogger, token } = options
  if (token !== undefined && token.length !== TOKEN_BYTES) throw new TypeError(`the token has ${TOKEN_BYTES} bytes`)

  async function listen(address: string, onChannel: (channel: Channel) => void, listening: ListenOptions = {}): Promise<Listener> {
    const target = parseWssListenAddress(address, token ?? new Uint8Array(TOKEN_BYTES))
    if (options.fronts === undefined || token === undefined)
      throw new KithError('SCHEME_UNAVAILABLE', 'A WebSocket is listened for on a site, and there is none.', { details: { scheme: 'wss', reason: 'no site' } })
    listening.signal?.throwIfAborted()
    const { onLocate } = listening
    const accept = (stream: Duplex, source: { host: string; port: number; scheme: string }): Promise<Channel> => {
      const stack = { signer, clock, random, path: { scheme: 'wss', address: formatWssAddress(source), direct: true } }
      return acceptStack(stream, onLocate === undefined ? stack : { ...stack, onLocate: (request) => onLocate(request, source) })
    }
    const lease = await options.fronts.at(target)
    try {
      listening.signal?.throwIfAborted()
      return new WssListener(lease, { token, clock, logger, accept, onChannel, options: listening })
    } catch (error) {
      await lease.release()
      throw error
    }
  }

  async function reach(address: string, signal: AbortSignal): Promise<Duplex> {
    const target = parseWssAddress(address)
    const { host, port } = target
    const authorities = await options.authorities?.()
    const socket = await connectThrough(options.proxies?.for(host) ?? [], { host, port, signal, clock })
    return await connectWebSocket(socket, target, { purpose: 'link', signal, clock, ...(authorities === undefined ? {} : { authorities }) })
  }

  async function dial(address: string, { expect, signal }: DialOptions): Promise<Channel> {
    const stream = await reach(address, signal)
    return await dialStack(stream, expect, signal, { signer, clock, random, path: { scheme: 'wss', address, direct: true } })
  }

  async function locate(address: string, request: Uint8Array, { signal }: { signal: AbortSignal }): Promise<Uint8Array> {
    return await requestLocate(await reach(address, signal), request, { signal, clock })
  }

  return { scheme: 'wss', listen, dial, locate }
}
