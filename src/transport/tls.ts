import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { type Logger, silentLogger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Secret } from '../core/secret.ts'
import { FrontPool } from './front/pool.ts'
import { connectThrough, type ProxyRoute } from './proxy.ts'
import { formatAddress, parseAddress } from './tcp/address.ts'
import { LinkCredentials } from './tls/credentials.ts'
import { dialLink } from './tls/handshake.ts'
import { TlsListener } from './tls/listener.ts'
import type { Channel, DialOptions, Listener, ListenOptions, Transport } from './types.ts'

export interface TlsTransportOptions {
  /** Seed of the link key (32 bytes). Stays the caller's, and has to last as long as the transport: certificates are renewed. */
  readonly seed: Secret
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
  /** Ports shared with others; of its own when absent. */
  readonly fronts?: FrontPool
  /** The proxies to dial through; absent: none. Listening has nothing to do with them. */
  readonly proxies?: ProxyRoute
}

/**
 * Links over mutual TLS 1.3 at `tls://HOST:PORT`, ALPN `icn/1`, with the hybrid group X25519MLKEM768 where both runtimes have it, then the same multiplexer as
 * everywhere. Looks like TLS and says that it is a link: where that must not be seen, use `wss://`.
 *
 * Not provided: locating (`locate`), resumption, hiding either key from whoever answers: both certificates are judged when the handshake is through.
 */
export function createTlsTransport(options: TlsTransportOptions): Transport {
  const { clock, logger = silentLogger } = options
  const credentials = new LinkCredentials(options.seed, clock, options.random)
  const fronts = options.fronts ?? new FrontPool({ clock, logger })

  async function listen(address: string, onChannel: (channel: Channel) => void, listening: ListenOptions = {}): Promise<Listener> {
    const target = parseAddress(address, 0, 'tls')
    listening.signal?.throwIfAborted()
    const lease = await fronts.at(target)
    try {
      listening.signal?.throwIfAborted()
      return new TlsListener(lease, { credentials, clock, logger, onChannel, options: listening })
    } catch (error) {
      await lease.release()
      throw error
    }
  }

  async function dial(address: string, { expect, signal }: DialOptions): Promise<Channel> {
    const target = parseAddress(address, 1, 'tls')
    const contexts = credentials.current()
    if (equal(expect, contexts.localKey)) throw new KithError('SELF_DIAL')
    const socket = await connectThrough(options.proxies?.for(target.host) ?? [], { ...target, signal, clock })
    return await dialLink(socket, expect, signal, { contexts, clock, path: { scheme: 'tls', address: formatAddress(target, 'tls'), direct: true } })
  }

  return { scheme: 'tls', listen, dial }
}
