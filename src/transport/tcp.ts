import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { type Logger, silentLogger } from '../core/observe/log.ts'
import type { Random } from '../core/random.ts'
import type { Signer } from '../core/signer.ts'
import { requestLocate } from '../stream/locate.ts'
import { connectThrough, type ProxyRoute } from './proxy.ts'
import { acceptStack, dialStack } from './stack.ts'
import { formatAddress, type HostPort, parseAddress } from './tcp/address.ts'
import { connect } from './tcp/connect.ts'
import { TcpListener } from './tcp/listener.ts'
import type { Channel, DialOptions, Listener, ListenOptions, Path, Transport } from './types.ts'

export interface TcpTransportOptions {
  /** The link key. */
  readonly signer: Signer
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
  /** The proxies to dial through; absent: none. Listening has nothing to do with them. */
  readonly proxies?: ProxyRoute
}

/** Links over TCP at `tcp://HOST:PORT`: the encrypted stream with the post-quantum step and the multiplexer. The fallback that always works. */
export function createTcpTransport(options: TcpTransportOptions): Transport {
  return new TcpTransport(options)
}

class TcpTransport implements Transport {
  readonly scheme = 'tcp'
  readonly #options: TcpTransportOptions

  constructor(options: TcpTransportOptions) {
    this.#options = options
  }

  async listen(address: string, onChannel: (channel: Channel) => void, options: ListenOptions = {}): Promise<Listener> {
    const target = parseAddress(address, 0)
    const { onLocate } = options
    const { signer, clock, random, logger = silentLogger } = this.#options
    return await TcpListener.start(
      target,
      (socket, source) => {
        const stack = { signer, clock, random, path: pathTo(source) }
        return acceptStack(socket, onLocate === undefined ? stack : { ...stack, onLocate: (request) => onLocate(request, source) })
      },
      onChannel,
      options,
      logger,
    )
  }

  async dial(address: string, { expect, signal }: DialOptions): Promise<Channel> {
    const target = parseAddress(address, 1)
    const { signer, clock, random } = this.#options
    const socket = await this.#connect(target, signal)
    return await dialStack(socket, expect, signal, { signer, clock, random, path: pathTo(target) })
  }

  async locate(address: string, request: Uint8Array, { signal }: { signal: AbortSignal }): Promise<Uint8Array> {
    const { clock } = this.#options
    const socket = await this.#connect(parseAddress(address, 1), signal)
    return await requestLocate(socket, request, { signal, clock })
  }

  #connect(target: HostPort, signal: AbortSignal): Promise<Socket> {
    const { clock, proxies } = this.#options
    const through = proxies?.for(target.host) ?? []
    return through.length === 0 ? connect(target, signal, clock) : connectThrough(through, { ...target, signal, clock })
  }
}

function pathTo(end: HostPort): Path {
  return { scheme: 'tcp', address: formatAddress(end), direct: true }
}
