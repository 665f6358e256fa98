import type { Socket } from 'node:net'
import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { ClientHello } from '../front/client-hello.ts'
import type { FrontLease } from '../front/pool.ts'
import { formatAddress } from '../tcp/address.ts'
import type { Channel, Listener, ListenOptions, Source } from '../types.ts'
import { LINK_PROTOCOL, type LinkCredentials } from './credentials.ts'
import { acceptLink } from './handshake.ts'

/** Handshakes under way when the caller keeps no budget of its own; the oldest makes room. */
const MAX_PENDING = 4096

export interface TlsListenerParts {
  readonly credentials: LinkCredentials
  readonly clock: Clock
  readonly logger: Logger
  readonly onChannel: (channel: Channel) => void
  readonly options: ListenOptions
}

/** Links at a front door: whoever asks for their protocol. */
export class TlsListener implements Listener {
  readonly addresses: readonly string[]
  readonly #lease: FrontLease
  readonly #parts: TlsListenerParts
  readonly #stop: () => void
  /** In order of arrival. */
  readonly #pending: Set<Socket> = new Set()
  #open = true

  /** Takes over the lease. @throws KithError `ADDRESS_IN_USE` when links are served there already. */
  constructor(lease: FrontLease, parts: TlsListenerParts) {
    this.#lease = lease
    this.#parts = parts
    this.addresses = [formatAddress(lease.front.address, 'tls')]
    this.#stop = lease.front.onAlpn(LINK_PROTOCOL, (socket, hello, source) => this.#accept(socket, hello, source))
    parts.options.signal?.addEventListener('abort', this.#abort, { once: true })
  }

  async close(): Promise<void> {
    this.#open = false
    this.#stop()
    this.#parts.options.signal?.removeEventListener('abort', this.#abort)
    for (const socket of this.#pending) socket.destroy()
    await this.#lease.release()
  }

  #abort = (): void => void this.close()

  #accept(socket: Socket, hello: ClientHello, source: Source): void {
    const { admit, onFailed } = this.#parts.options
    const admission = admit === undefined ? this.#makeRoom() : admit(source, () => this.#evict(socket))
    if (admission === undefined) {
      socket.destroy()
      onFailed?.(new KithError('BUDGET_EXCEEDED'))
    } else void this.#shake(socket, hello, source, admission)
  }

  async #shake(socket: Socket, hello: ClientHello, source: Source, admission: { release(): void }): Promise<void> {
    const { credentials, clock, logger, onChannel, options } = this.#parts
    this.#pending.add(socket)
    let channel: Channel
    try {
      const path = { scheme: 'tls', address: formatAddress(source, 'tls'), direct: true }
      channel = await acceptLink(socket, hello, { contexts: credentials.current(), clock, path })
    } catch (error) {
      socket.destroy()
      const failure = asKithError(error, 'INTERNAL')
      logger.debug('tls.handshake_ended', { code: failure.code })
      options.onFailed?.(failure)
      return
    } finally {
      this.#pending.delete(socket)
      admission.release()
    }
    if (this.#open) onChannel(channel)
    else channel.close()
  }

  /** Only a handshake is evicted: once a channel was handed out it is somebody’s. */
  #evict(socket: Socket): void {
    if (this.#pending.has(socket)) socket.destroy()
  }

  #makeRoom(): { release(): void } {
    const [oldest] = this.#pending
    if (this.#pending.size >= MAX_PENDING) oldest?.destroy()
    return { release: () => {} }
  }
}
