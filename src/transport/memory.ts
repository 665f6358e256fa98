import { equal } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import type { Signer } from '../core/signer.ts'
import { WireChannel } from './memory/channel.ts'
import { WireDuplex } from './memory/duplex.ts'
import { MemoryHub, type MemoryNetwork, type MemoryServer, type Offer } from './memory/network.ts'
import { acceptStack, dialStack } from './stack.ts'
import type { Channel, DialOptions, Listener, ListenOptions, Path, Source, Transport } from './types.ts'

export { createMemoryNetwork, type MemoryNetwork, type NetworkModel } from './memory/network.ts'

export interface MemoryTransportOptions {
  readonly network: MemoryNetwork
  readonly signer: Signer
  readonly random: Random
  readonly clock: Clock
  /** Runs the encrypted stream with the post-quantum step on top, as over a socket, instead of plain frames. Both ends must agree. Default false. */
  readonly secure?: boolean
  /** What others see as the source, and what `cut` and `sever` know it by. Default: a fresh one. */
  readonly name?: string
}

/**
 * Connections inside one process, at addresses `memory://NAME`, over a network that can be slow, cut and broken on purpose.
 * Plain frames by default: the network vouches for the keys.
 */
export function createMemoryTransport(options: MemoryTransportOptions): Transport {
  if (!(options.network instanceof MemoryHub)) throw new TypeError('network: what createMemoryNetwork made')
  return new MemoryTransport(options.network, options)
}

class MemoryTransport implements Transport {
  readonly scheme = 'memory'
  readonly #hub: MemoryHub
  readonly #options: MemoryTransportOptions
  readonly #name: string
  readonly #life: number

  constructor(hub: MemoryHub, options: MemoryTransportOptions) {
    this.#hub = hub
    this.#options = options
    this.#name = options.name ?? hub.freshName()
    this.#life = hub.life(this.#name)
  }

  async listen(address: string, onChannel: (channel: Channel) => void, options: ListenOptions = {}): Promise<Listener> {
    options.signal?.throwIfAborted()
    const name = nameOf(address)
    const hub = this.#hub
    await this.#alive()
    if (hub.servers.has(name)) throw new KithError('ADDRESS_IN_USE', undefined, { details: { address } })
    const server: MemoryServer = {
      owner: this.#name,
      key: this.#options.signer.publicKey,
      secure: this.#secure,
      accept: (offer) => this.#accept(offer, onChannel, options),
      locate: (request, source) => options.onLocate?.(request, source),
    }
    hub.servers.set(name, server)
    const close = async (): Promise<void> => {
      if (hub.servers.get(name) === server) hub.servers.delete(name)
      options.signal?.removeEventListener('abort', close)
    }
    options.signal?.addEventListener('abort', close, { once: true })
    return { addresses: [address], close }
  }

  async dial(address: string, { expect, signal }: DialOptions): Promise<Channel> {
    const name = nameOf(address)
    const { signer, random, clock } = this.#options
    signal.throwIfAborted()
    if (equal(expect, signer.publicKey)) throw new KithError('SELF_DIAL')
    const server = await this.#find(name, signal)
    const secure = this.#secure
    if (server.secure !== secure) throw new KithError('HANDSHAKE_FAILED', 'One end is secure and the other is not.', { details: { address } })
    if (!secure && !equal(server.key, expect)) throw new KithError('WRONG_KEY', undefined, { details: { address } })
    const wire = this.#hub.wire(this.#name, name, clock)
    const binding = random.bytes(32)
    if (!server.accept({ wire: wire[1], source: this.#source(), dialerKey: signer.publicKey, binding })) {
      wire[0].break(new KithError('HANDSHAKE_FAILED'))
      throw new KithError('HANDSHAKE_FAILED', 'The other side does not take connections from here.', { details: { address } })
    }
    const path = pathTo(name)
    if (secure) return await dialStack(new WireDuplex(wire[0]), expect, signal, { signer, clock, random, path })
    const info = { role: 'dialer', localKey: signer.publicKey, remoteKey: server.key, path, postQuantum: false } as const
    return new WireChannel(wire[0], info, binding, clock)
  }

  async locate(address: string, request: Uint8Array, { signal }: { signal: AbortSignal }): Promise<Uint8Array> {
    const name = nameOf(address)
    signal.throwIfAborted()
    const server = await this.#find(name, signal)
    const answer = server.locate(request.slice(), this.#source())
    if (answer === undefined) throw new KithError('LOCATE_FAILED', undefined, { details: { address } })
    return answer.slice()
  }

  get #secure(): boolean {
    return this.#options.secure ?? false
  }

  #accept({ wire, source, dialerKey, binding }: Offer, onChannel: (channel: Channel) => void, options: ListenOptions): boolean {
    const { signer, clock, random } = this.#options
    let shaking = true
    const evict = (): void => {
      if (shaking) wire.break(new KithError('HANDSHAKE_FAILED'))
    }
    const admission = options.admit === undefined ? { release: () => {} } : options.admit(source, evict)
    if (admission === undefined) return false
    const path = pathTo(source.host)
    const ended = (): void => {
      shaking = false
      admission.release()
    }
    if (this.#secure) {
      const accepted = acceptStack(new WireDuplex(wire), { signer, clock, random, path })
      accepted.finally(ended).then(onChannel, () => {})
      return true
    }
    ended()
    const info = { role: 'listener', localKey: signer.publicKey, remoteKey: dialerKey, path, postQuantum: false } as const
    onChannel(new WireChannel(wire, info, binding, clock))
    return true
  }

  #source(): Source {
    return { scheme: this.scheme, host: this.#name, port: 0 }
  }

  async #find(name: string, signal: AbortSignal): Promise<MemoryServer> {
    await this.#alive()
    const server = await this.#hub.find(this.#name, name, this.#options.clock, signal)
    await this.#alive()
    return server
  }

  /** Never, once the machine has vanished: nothing of it goes on. */
  #alive(): Promise<void> {
    return this.#hub.life(this.#name) === this.#life ? Promise.resolve() : new Promise(() => {})
  }
}

function pathTo(name: string): Path {
  return { scheme: 'memory', address: `memory://${name}`, direct: true }
}

/** @throws KithError `ADDRESS_INVALID`. */
function nameOf(address: string): string {
  const name = /^memory:\/\/([A-Za-z0-9._-]{1,64})$/.exec(address)?.[1]
  if (name === undefined) throw new KithError('ADDRESS_INVALID', undefined, { details: { address: address.slice(0, 100) } })
  return name
}
