import type { Duplex } from 'node:stream'
import type { Clock } from '../../core/clock.ts'
import { asKithError, KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { FrontLease } from '../front/pool.ts'
import type { Channel, Listener, ListenOptions, Source } from '../types.ts'
import { keyedUpgrade } from './accept.ts'
import { formatWssAddress, keyedPath } from './address.ts'

/** Handshakes under way when the caller keeps no budget of its own; the oldest makes room. */
const MAX_PENDING = 4096
/** A certificate may be for a hundred names; an address book holds few. */
const MAX_NAMES = 4

export interface WssListenerParts {
  readonly token: Uint8Array
  readonly clock: Clock
  readonly logger: Logger
  readonly accept: (stream: Duplex, source: Source) => Promise<Channel>
  readonly onChannel: (channel: Channel) => void
  readonly options: ListenOptions
}

/** Links that come as WebSockets to the keyed path of a site. */
export class WssListener implements Listener {
  readonly #lease: FrontLease
  readonly #parts: WssListenerParts
  readonly #stops: readonly (() => void)[]
  /** In order of arrival. */
  readonly #pending: Set<Duplex> = new Set()
  #open = true

  /** Takes over the lease. @throws KithError `ADDRESS_IN_USE` when links are served there already; `SCHEME_UNAVAILABLE` without a site. */
  constructor(lease: FrontLease, parts: WssListenerParts) {
    this.#lease = lease
    this.#parts = parts
    const handler = keyedUpgrade(keyedPath(parts.token, 'link'), parts.clock, (stream, source) => this.#accept(stream, source))
    this.#stops = [lease.front.onUpgrade('wss', handler), lease.front.openSite()]
    parts.options.signal?.addEventListener('abort', this.#abort, { once: true })
  }

  /**
   * As bound, with the certificate's hash since no authority vouches for a bare address; and by the names that the certificate is for, which last when it is
   * replaced.
   */
  get addresses(): readonly string[] {
    const { address, certificateFacts } = this.#lease.front
    const { token } = this.#parts
    const named = certificateFacts?.names.slice(0, MAX_NAMES) ?? []
    return [formatWssAddress(address, token, certificateFacts?.pin), ...named.map((host) => formatWssAddress({ host, port: address.port }, token))]
  }

  async close(): Promise<void> {
    this.#open = false
    for (const stop of this.#stops) stop()
    this.#parts.options.signal?.removeEventListener('abort', this.#abort)
    for (const stream of this.#pending) stream.destroy()
    await this.#lease.release()
  }

  #abort = (): void => void this.close()

  #accept(stream: Duplex, source: Source): void {
    stream.on('error', () => {})
    const { admit, onFailed } = this.#parts.options
    const admission = admit === undefined ? this.#makeRoom() : admit(source, () => this.#evict(stream))
    if (admission === undefined) {
      stream.destroy()
      onFailed?.(new KithError('BUDGET_EXCEEDED'))
    } else void this.#shake(stream, source, admission)
  }

  async #shake(stream: Duplex, source: Source, admission: { release(): void }): Promise<void> {
    this.#pending.add(stream)
    let channel: Channel
    try {
      channel = await this.#parts.accept(stream, source)
    } catch (error) {
      stream.destroy()
      const failure = asKithError(error, 'INTERNAL')
      this.#parts.logger.debug('wss.handshake_ended', { code: failure.code })
      this.#parts.options.onFailed?.(failure)
      return
    } finally {
      this.#pending.delete(stream)
      admission.release()
    }
    if (this.#open) this.#parts.onChannel(channel)
    else channel.close()
  }

  /** Only a handshake is evicted: once a channel was handed out it is somebody’s. */
  #evict(stream: Duplex): void {
    if (this.#pending.has(stream)) stream.destroy()
  }

  #makeRoom(): { release(): void } {
    const [oldest] = this.#pending
    if (this.#pending.size >= MAX_PENDING) oldest?.destroy()
    return { release: () => {} }
  }
}
