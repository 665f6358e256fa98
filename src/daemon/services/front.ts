import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { MetricsRegistry } from '../../core/observe/metrics.ts'
import type { Random } from '../../core/random.ts'
import type { Home } from '../../identity/home.ts'
import { createSite } from '../../site/site.ts'
import { ACME_TLS_PROTOCOL, acmeChallenge } from '../../transport/front/acme-challenge.ts'
import { type FrontLease, FrontPool } from '../../transport/front/pool.ts'
import type { SiteHandler, SshHandler, TlsCertificate } from '../../transport/front/types.ts'
import { keyedUpgrade } from '../../transport/wss/accept.ts'
import { keyedPath } from '../../transport/wss/address.ts'
import { splitHostPort } from '../config/acme.ts'
import type { ConfigHolder } from '../config/holder.ts'
import type { Service, Trouble } from '../service.ts'
import { frontToken } from './front-token.ts'

export interface FrontServiceOptions {
  readonly home: Home
  readonly config: ConfigHolder
  readonly certificates: FrontCertificates
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: MetricsRegistry
}

/** Where the certificate of the front door comes from. */
export interface FrontCertificates {
  /** The same object for as long as it is the same certificate. */
  readonly current: TlsCertificate | undefined
  /** For challenges of an authority (RFC 8737). */
  challengeFor(serverName: string | undefined): TlsCertificate | undefined
  /** The front door answers now. */
  answering(): void
}

/** The front door as `kith status` tells it. */
export interface FrontStatus {
  readonly listen: string
  readonly connections: number
  /** Where SSH goes in by WebSocket; null while nobody serves SSH. */
  readonly ssh_path: string | null
}

/**
 * The port that looks like a website: the site itself, challenges of certificate authorities, and SSH, inside TLS or as a WebSocket. Links at the same address
 * (`tls://`, `wss://` in `listen`) share it through `pool`.
 */
export class FrontService implements Service {
  readonly name = 'front'
  readonly pool: FrontPool
  readonly #options: FrontServiceOptions
  #site: SiteHandler | undefined
  #token: Uint8Array | undefined
  #lease: FrontLease | undefined
  #ssh: SshHandler | undefined
  #stops: (() => void)[] = []
  #sshStops: (() => void)[] = []

  constructor(options: FrontServiceOptions) {
    const { config, certificates, clock, logger, metrics } = options
    this.#options = options
    const answers = metrics.counter('kith_site_answers_total', 'Answers of the site, by status.', ['status'])
    const held = metrics.gauge('kith_front_connections', 'Connections at the front door.')
    metrics.beforeRender(() => held.set(this.#lease?.front.connections ?? 0))
    this.pool = new FrontPool({
      clock,
      logger,
      limits: { perSource: config.current['front.max_per_source'] },
      site: {
        certificate: () => certificates.current,
        handle: (stream, arrival) => {
          this.#site ??= createSite({
            clock,
            server: config.current['front.server'],
            onAnswer: (status) => answers.add(1, { status: String(status) }),
            ...(config.current['front.site'] === '' ? {} : { folder: config.current['front.site'] }),
          })
          this.#site(stream, arrival)
        },
      },
    })
  }

  /** What opens the keyed paths; undefined before the service has started once. */
  get token(): Uint8Array | undefined {
    return this.#token
  }

  /** Where it listens; null while it does not. */
  get address(): string | null {
    const front = this.#lease?.front
    if (front === undefined) return null
    const { host, port } = front.address
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  }

  get status(): FrontStatus | null {
    const front = this.#lease?.front
    const listen = this.address
    if (front === undefined || listen === null) return null
    return { listen, connections: front.connections, ssh_path: this.#ssh === undefined || this.#token === undefined ? null : keyedPath(this.#token, 'ssh') }
  }

  /** Hands SSH connections that come to this door to `handler`, now and after each restart; the returned function ends that. @throws TypeError when somebody has them. */
  onSsh(handler: SshHandler): () => void {
    if (this.#ssh !== undefined) throw new TypeError('SSH at the front door has a handler already')
    this.#ssh = handler
    this.#openSsh()
    return () => {
      this.#ssh = undefined
      for (const stop of this.#sshStops.splice(0)) stop()
    }
  }

  /** @throws KithError `ADDRESS_IN_USE`, `ADDRESS_INVALID`. */
  async start(): Promise<void> {
    const { home, config, certificates, clock, random } = this.#options
    this.#token = await frontToken(
      home.paths.root,
      random,
      config.current['front.listen'] !== '' || config.current.listen.some((url) => url.startsWith('wss:')),
    )
    const wanted = config.current['front.listen']
    if (wanted === '') return
    this.#lease = await this.pool.at(splitHostPort(wanted))
    const { front } = this.#lease
    this.#stops.push(
      front.openSite(),
      front.onAlpn(
        ACME_TLS_PROTOCOL,
        acmeChallenge((name) => certificates.challengeFor(name), clock),
        { keepsPlace: true },
      ),
    )
    this.#openSsh()
    certificates.answering()
  }

  async stop(): Promise<void> {
    for (const stop of [...this.#sshStops.splice(0), ...this.#stops.splice(0)]) stop()
    const lease = this.#lease
    this.#lease = undefined
    this.#site = undefined
    await lease?.release()
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    if (this.#lease === undefined || this.#options.certificates.current !== undefined) return []
    const error = new KithError('SCHEME_UNAVAILABLE', 'The front door has no certificate, so it refuses every TLS connection of the site.')
    return [{ code: error.code, message: error.message, next: 'set certificate.file and certificate.key_file, or acme.names, and run kith config reload' }]
  }

  /** SSH inside TLS, where the owner wants it to be seen by who asks; and by WebSocket, where only who has the path finds it. */
  #openSsh(): void {
    const { config, clock } = this.#options
    const front = this.#lease?.front
    const ssh = this.#ssh
    if (front === undefined || ssh === undefined || this.#token === undefined) return
    if (config.current['front.ssh']) this.#sshStops.push(front.onSsh(ssh))
    const upgrade = keyedUpgrade(keyedPath(this.#token, 'ssh'), clock, (stream, { host, port }) =>
      ssh(stream, { remoteAddress: host, remotePort: port, transport: 'wss' }),
    )
    this.#sshStops.push(front.onUpgrade('ssh', upgrade))
  }
}
