import { createAssembly } from '../assembly/assembly.ts'
import type { Assembly, AssemblyConfig } from '../assembly/types.ts'
import type { Clock } from '../core/clock.ts'
import { isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Random } from '../core/random.ts'
import { openSqliteStore } from '../core/store/sqlite.ts'
import type { Store } from '../core/store/types.ts'
import { nextBoot } from '../identity/boot.ts'
import type { Home } from '../identity/home.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { ProtocolOptions, StreamHandler } from '../mesh/types.ts'
import type { Transport } from '../transport/types.ts'
import type { ConfigHolder } from './config/holder.ts'
import { limitOverrides } from './config/limits.ts'
import type { Config } from './config/settings.ts'
import { createDiscovery } from './discovery.ts'
import type { EventHub } from './events.ts'
import type { IdentityService } from './identity/service.ts'
import { choosePort, hasIpv6, rememberPort } from './ports.ts'
import { configuredProxies } from './proxies.ts'
import { recoveryTroubles, recoveryWarning } from './recovery/troubles.ts'
import type { Service, Trouble } from './service.ts'
import type { FrontService } from './services/front.ts'
import { createTransports, readAuthorities } from './transports.ts'

/** All interfaces, IPv4. */
const ANY = '0.0.0.0'

export interface MeshServiceOptions {
  readonly home: Home
  readonly config: ConfigHolder
  readonly identity: IdentityService
  /** Ports that are shared with a site. */
  readonly front: () => Pick<FrontService, 'pool' | 'token'>
  readonly events: EventHub
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: Metrics
}

/** Store, transports and the assembled node: everything that needs its keys and is not a service of its own. */
export class MeshService implements Service {
  readonly name = 'mesh'
  readonly needs: readonly string[] = ['identity']
  readonly #options: MeshServiceOptions
  #store: Store | undefined
  #assembly: Assembly | undefined
  readonly #handlers: Map<string, { readonly handler: StreamHandler; readonly options: ProtocolOptions }> = new Map()
  #listen: readonly string[] = []
  #insteadOf: number | null = null
  #failed: readonly Omit<Trouble, 'service'>[] = []
  #stopWatching: (() => void) | undefined
  #giveUp: (error: KithError) => void = () => {}
  #afterLinks: (() => void | Promise<void>)[] = []

  constructor(options: MeshServiceOptions) {
    this.#options = options
  }

  /** Undefined while the service does not run. */
  get assembly(): Assembly | undefined {
    return this.#assembly
  }

  /** Undefined while the service does not run. */
  get mesh(): Mesh | undefined {
    return this.#assembly?.mesh
  }

  get store(): Store | undefined {
    return this.#store
  }

  /** The assembled node, for services that need it: while they run, it does. */
  get runningAssembly(): Assembly {
    if (this.#assembly === undefined) throw new TypeError('the mesh does not run')
    return this.#assembly
  }

  /** Its mesh. */
  get running(): Mesh {
    return this.runningAssembly.mesh
  }

  get runningStore(): Store {
    if (this.#store === undefined) throw new TypeError('the store is not open')
    return this.#store
  }

  /** Runs once when the mesh has let its streams end and closed its links, while the store is still open: for what those streams belong to. */
  afterLinks(run: () => void | Promise<void>): void {
    this.#afterLinks.push(run)
  }

  /** Where the node listens besides links at the moment, as bound: addresses that end in a port. Asked at each decision about a forward. */
  doors: () => readonly (string | null)[] = () => []

  /** Actual addresses, as bound. */
  get listen(): readonly string[] {
    return this.#listen
  }

  /** The port that was wanted and is taken; null when it was free. */
  get insteadOfPort(): number | null {
    return this.#insteadOf
  }

  /** Serves a protocol whenever the mesh runs, now and after each restart; the returned function ends that. @throws TypeError for a bad or taken name. */
  handle(protocol: string, handler: StreamHandler, options: ProtocolOptions = {}): () => void {
    if (this.#handlers.has(protocol)) throw new TypeError(`the protocol ${protocol} has a handler already`)
    let stop = this.mesh?.handle(protocol, handler, options)
    this.#handlers.set(protocol, { handler, options })
    return () => {
      this.#handlers.delete(protocol)
      stop?.()
      stop = undefined
    }
  }

  async start(signal: AbortSignal, failed: (error: KithError) => void): Promise<void> {
    this.#giveUp = failed
    const { home, config, identity, events, clock, random, logger, metrics } = this.#options
    this.#store = await openSqliteStore(home.paths.store)
    const { device } = identity
    const wanted = await this.#addresses(config.current)
    const assembly = await createAssembly({
      device,
      store: this.#store,
      boot: await nextBoot(home, device.content.boot, clock.now()),
      transports: this.#transports(),
      clock,
      random,
      logger,
      metrics,
      config: assemblyConfig(config.current),
      discovery: createDiscovery({
        config: config.current,
        listen: wanted,
        known: () => this.mesh?.book.list().map(({ did }) => did) ?? [],
        clock,
        random,
        logger,
      }),
    })
    this.#assembly = assembly
    const { mesh } = assembly
    const stopEvents = mesh.onEvent((event) => events.emit(event))
    const stopMessages = assembly.mail.onMessage(({ from, id, text }) => events.emit({ type: 'message', peer: from, id, text }))
    const stopNews = assembly.recovery.onNews((news) => {
      const warning = recoveryWarning(news)
      if (warning !== undefined) events.emit(warning)
    })
    const stopConfig = config.onChange((next) => assembly.reload(assemblyConfig(next, this.#ownPorts(next))))
    this.#stopWatching = () => {
      stopEvents()
      stopMessages()
      stopNews()
      stopConfig()
    }
    for (const [protocol, { handler, options }] of this.#handlers) mesh.handle(protocol, handler, options)
    await this.#listenOn(mesh, wanted, signal)
    // Known only now. A rule for many ports or addresses does not reach the node itself.
    assembly.reload(assemblyConfig(config.current, this.#ownPorts(config.current)))
    await assembly.start()
  }

  async stop(): Promise<void> {
    this.#stopWatching?.()
    this.#stopWatching = undefined
    const assembly = this.#assembly
    const store = this.#store
    this.#assembly = undefined
    this.#store = undefined
    this.#listen = []
    try {
      await assembly?.close()
    } finally {
      const waiting = this.#afterLinks
      this.#afterLinks = []
      await Promise.allSettled(waiting.map(async (run) => run()))
      await store?.close()
    }
  }

  health(): readonly Omit<Trouble, 'service'>[] {
    const broken = this.#assembly?.gossip.topics().filter((topic) => topic.broken) ?? []
    const mesh = this.#assembly?.mesh
    const doubting = mesh?.contradictedBy.map((did) => (did === mesh.did ? 'This node' : (mesh.book.get(did)?.name ?? did))) ?? []
    return [
      ...this.#failed,
      ...recoveryTroubles(this.#assembly?.recovery),
      ...doubting.map((name) => ({
        code: 'CHAIN_FORKED' as const,
        message: `${name} was shown two contradicting histories of this identity's keys, so somebody has a copy of them; a peer grants nothing until its owner chooses yours.`,
        next: 'kith id chain',
      })),
      ...broken.map(({ name }) => ({
        code: 'STORE_FAILED' as const,
        message: `The definition of the topic ${name} cannot be read, so it admits nobody.`,
        next: `kith topics remove ${name}`,
      })),
    ]
  }

  /** The machine has new link keys: links end and begin again on transports made for them. When that fails the service begins anew with them. */
  async deviceChanged(): Promise<void> {
    const { device } = this.#options.identity
    try {
      await this.#assembly?.replaceDevice(device, { transports: this.#transports() })
    } catch (cause) {
      this.#giveUp(new KithError('LINK_CLOSED', 'The node starts its links anew with the new key.', { cause, next: 'kith status' }))
    }
  }

  #transports(): readonly Transport[] {
    const { config, identity, front, clock, random, logger } = this.#options
    const { pool, token } = front()
    const authorities = async (): Promise<string | undefined> => await readAuthorities(config.current['link.site_ca_file'])
    return createTransports({ device: identity.device, clock, random, logger, proxies: configuredProxies(config), fronts: pool, token, authorities })
  }

  /** The binding was renewed; the keys are the same. */
  async bindingChanged(): Promise<void> {
    await this.#assembly?.replaceDevice(this.#options.identity.device)
  }

  /** As configured, else the peer port on all interfaces for every kind of path that works here. */
  async #addresses(config: Config): Promise<readonly string[]> {
    if (config.listen.length > 0) return config.listen
    const { home } = this.#options
    const ipv6 = await hasIpv6()
    const choice = await choosePort(home.paths.root, ipv6 ? [ANY, '::'] : [ANY])
    this.#insteadOf = choice.insteadOf
    await rememberPort(home.paths.root, choice.port)
    const at = (scheme: string, host: string): string => `${scheme}://${host}:${choice.port}`
    // A TCP socket on :: takes IPv4 as well; the QUIC library's does not.
    return ipv6 ? [at('tcp', '[::]'), at('quic', ANY), at('quic', '[::]')] : [at('tcp', ANY), at('quic', ANY)]
  }

  /** Those of the links and of the configuration, and what is bound besides: a door may be where the system chose. */
  #ownPorts(config: Config): () => readonly number[] {
    const known = portsOf([...this.#listen, ...DOORS.map((name) => config[name])])
    return () => [...known, ...portsOf(this.doors())]
  }

  /**
   * An address that was asked for and cannot be used is reported; of the default ones, what does not work here is left out.
   * The node runs when it listens anywhere at all.
   */
  async #listenOn(mesh: Mesh, wanted: readonly string[], signal: AbortSignal): Promise<void> {
    const asked = this.#options.config.current.listen.length > 0
    const listen: string[] = []
    const failed: Omit<Trouble, 'service'>[] = []
    for (const url of wanted) {
      try {
        listen.push(...(await mesh.listen(url, { signal })))
      } catch (error) {
        if (!isKithError(error)) throw error
        if (!asked && (error.code === 'SCHEME_UNAVAILABLE' || listen.length > 0)) continue
        failed.push({ code: error.code, message: `${url}: ${error.message}`, next: error.next ?? 'kith doctor' })
        this.#options.logger.warn('cannot listen', { url, code: error.code })
      }
    }
    this.#listen = listen
    this.#failed = failed
    const first = failed[0]
    if (listen.length === 0 && first !== undefined) throw new KithError(first.code, first.message, { next: first.next ?? 'kith doctor' })
  }
}

/** Doors other than links: what comes to them from this machine itself is trusted further than the peer that a rule for many ports was meant for. */
const DOORS = ['gateway.listen', 'gateway.raw_listen', 'ssh.listen', 'front.listen', 'acme.http_listen'] as const

function portsOf(addresses: readonly (string | null)[]): readonly number[] {
  return addresses.map((address) => Number(PORT.exec(address ?? '')?.[1] ?? 0)).filter((port) => port >= 1 && port <= 65_535)
}

/** Of `tcp://[::1]:4433`, `127.0.0.1:22` and `wss://example.org:443/path` alike; of `unix:/path` none. */
const PORT = /:([0-9]{1,5})(?:\/.*)?$/

function assemblyConfig(config: Config, ownPorts: () => readonly number[] = () => []): AssemblyConfig {
  return {
    mesh: {
      prefer: ['memory', ...config['link.prefer']],
      requirePq: config['link.require_pq'],
      pollUs: config['link.poll_us'],
      drainMs: config['shutdown.drain'],
      ownPorts,
      rules: config['policy.rules'],
      limits: limitOverrides(config),
    },
    trust: { minScore: Math.round(config['trust.min_threshold'] * 10_000) },
    gossip: { maxTopics: config['gossip.max_topics'] },
    mail: {
      inboxTotal: { messages: config['mail.inbox_messages'], bytes: config['mail.inbox_bytes'] },
      total: { messages: config['mail.kept_messages'], bytes: config['mail.kept_bytes'] },
    },
  }
}
