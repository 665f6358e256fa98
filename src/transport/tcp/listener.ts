import { createServer, type Server, type Socket } from 'node:net'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { Channel, Listener, ListenOptions, Source } from '../types.ts'
import { formatAddress, type HostPort, plainHost } from './address.ts'
import { systemCode } from './connect.ts'

/** Connections the kernel completes before we take them: a flood must not keep others from getting in line. */
const BACKLOG = 4096
/** Handshakes under way when the caller keeps no budget of its own; the oldest makes room. */
const MAX_PENDING = 4096

/** What a listener does with a socket that was let in. */
export type Upgrade = (socket: Socket, source: Source) => Promise<Channel>

/** A server socket, and the handshakes that have begun on it and not ended. */
export class TcpListener implements Listener {
  readonly addresses: readonly string[]
  readonly #server: Server
  readonly #upgrade: Upgrade
  readonly #onChannel: (channel: Channel) => void
  readonly #options: ListenOptions
  readonly #logger: Logger
  /** In order of arrival. */
  readonly #pending = new Set<Socket>()

  private constructor(server: Server, upgrade: Upgrade, onChannel: (channel: Channel) => void, options: ListenOptions, logger: Logger) {
    const bound = server.address() as { address: string; port: number }
    this.addresses = [formatAddress({ host: bound.address, port: bound.port })]
    this.#server = server
    this.#upgrade = upgrade
    this.#onChannel = onChannel
    this.#options = options
    this.#logger = logger
    server.on('connection', (socket) => this.#accept(socket))
    server.on('error', (error) => logger.warn('tcp.accept_failed', { reason: systemCode(error) }))
    options.signal?.addEventListener('abort', this.#abort, { once: true })
  }

  /** @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`; the signal's reason. */
  static async start(target: HostPort, upgrade: Upgrade, onChannel: (channel: Channel) => void, options: ListenOptions, logger: Logger): Promise<TcpListener> {
    options.signal?.throwIfAborted()
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error): void => reject(refused(target, error))
      server.once('error', failed)
      server.listen({ host: target.host, port: target.port, backlog: BACKLOG }, () => {
        server.off('error', failed)
        resolve()
      })
    })
    if (options.signal?.aborted === true) {
      server.close()
      throw options.signal.reason
    }
    return new TcpListener(server, upgrade, onChannel, options, logger)
  }

  async close(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#abort)
    // Its callback waits for channels that live on: the port is free without it.
    this.#server.close()
    for (const socket of this.#pending) socket.destroy()
    await new Promise<void>((resolve) => setImmediate(resolve))
  }

  #abort = (): void => void this.close()

  #accept(socket: Socket): void {
    socket.on('error', () => {})
    if (!this.#server.listening || socket.remoteAddress === undefined || socket.remotePort === undefined) {
      socket.destroy()
      return
    }
    const source = { scheme: 'tcp', host: plainHost(socket.remoteAddress), port: socket.remotePort }
    const { admit } = this.#options
    const admission = admit === undefined ? this.#makeRoom() : admit(source, () => this.#evict(socket))
    if (admission === undefined) {
      socket.destroy()
      this.#options.onFailed?.(new KithError('BUDGET_EXCEEDED'))
    } else void this.#shake(socket, source, admission)
  }

  async #shake(socket: Socket, source: Source, admission: { release(): void }): Promise<void> {
    this.#pending.add(socket)
    let channel: Channel
    try {
      channel = await this.#upgrade(socket, source)
    } catch (error) {
      socket.destroy()
      const failure = asKithError(error, 'INTERNAL')
      this.#logger.debug('tcp.handshake_ended', { code: failure.code })
      this.#options.onFailed?.(failure)
      return
    } finally {
      this.#pending.delete(socket)
      admission.release()
    }
    if (this.#server.listening) this.#onChannel(channel)
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

function refused(target: HostPort, error: Error): KithError {
  const reason = systemCode(error)
  const details = { address: formatAddress(target), reason }
  if (reason === 'EADDRINUSE') return new KithError('ADDRESS_IN_USE', undefined, { details, cause: error })
  const message = reason === 'EACCES' ? 'This port needs more rights than the process has.' : 'This machine cannot listen at that address.'
  return new KithError('ADDRESS_INVALID', message, { details, cause: error })
}
