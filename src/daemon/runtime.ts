import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import type { IdentitySource } from '../access/sources.ts'
import type { Assembly } from '../assembly/types.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { createLogger, type Logger } from '../core/observe/log.ts'
import { createMetrics, type MetricsRegistry } from '../core/observe/metrics.ts'
import { type Random, systemRandom } from '../core/random.ts'
import type { Secret } from '../core/secret.ts'
import type { Store } from '../core/store/types.ts'
import type { Files } from '../files/index.ts'
import { isDeviceOnly } from '../identity/device-home.ts'
import { type Home, openHome } from '../identity/home.ts'
import { hasIdentity } from '../identity/keystore.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { ProtocolOptions, StreamHandler } from '../mesh/types.ts'
import { withoutToken } from '../transport/wss/address.ts'
import type { Tunnels } from '../tunnel/index.ts'
import type { Credentials } from '../vault/credentials/credentials.ts'
import type { AccessService } from './access/service.ts'
import { BackupDesk } from './backup/desk.ts'
import { type ConfigHolder, openConfig } from './config/holder.ts'
import type { ConfigInput } from './config/load.ts'
import type { NodeContext } from './context.ts'
import { type ControlPlace, controlPlace, prepareControlPlace } from './control/place.ts'
import { controlRoutes } from './control/routes/index.ts'
import { type ControlServer, startControlServer } from './control/server.ts'
import { removeToken, writeToken } from './control/token.ts'
import type { DevicesService } from './devices/service.ts'
import { createEventHub, type EventHub } from './events.ts'
import { loadSummary } from './identity/describe.ts'
import type { RotationSchedule } from './identity/schedule.ts'
import type { IdentityService } from './identity/service.ts'
import { openLogFile } from './logs/file.ts'
import { leveledLogger } from './logs/leveled.ts'
import { createLogStore, type LogStore } from './logs/store.ts'
import { nodeMetrics } from './node-metrics.ts'
import { createServices, type NodeServices } from './node-services.ts'
import { createPairings, type Pairings } from './pairings.ts'
import type { CallsService } from './services/calls.ts'
import type { CertificatesService } from './services/certificates.ts'
import type { GatewayService } from './services/gateway.ts'
import type { SshService } from './services/ssh.ts'
import type { TunnelsService } from './services/tunnels.ts'
import { countStatus, doorStatus, type NodeStatus, peerStatus } from './status.ts'
import { Supervisor } from './supervisor.ts'
import type { VaultService } from './vault/service.ts'
import { version } from './version.ts'

export interface RuntimeOptions {
  /** Directory of the node; made when it is missing. */
  readonly home: string
  readonly env?: NodeJS.ProcessEnv
  /** Settings from the command line or a program; they win over file and environment. */
  readonly flags?: ConfigInput['flags']
  /** Stays the caller's. */
  readonly passphrase?: Secret
  readonly passphraseFile?: string
  /** Makes an identity when the home has none. Absent: the node is degraded then. */
  readonly create?: { readonly name?: string; readonly words?: number }
  /** Whether the command line can reach this node. Default true. */
  readonly control?: boolean
  /** Whether the services start at once. Default true. */
  readonly start?: boolean
  /** Asked who comes in by keys, behind configuration and store. */
  readonly identitySources?: readonly IdentitySource[]
  readonly clock?: Clock
  readonly random?: Random
}

/**
 * The assembled node: one home, its services (`node-services.ts`), and the control interface.
 *
 * ```text
 * lock -> config -> logs -> control -> identity -> mesh -> tunnels -> files        stop: the other way round
 *                             |           |          |        |           |
 *                             `-- answers even while these are down: degraded
 * ```
 */
export class Runtime implements NodeContext {
  readonly home: Home
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: MetricsRegistry
  readonly config: ConfigHolder
  readonly logs: LogStore
  readonly events: EventHub
  readonly supervisor: Supervisor
  readonly identity: IdentityService
  readonly vaults: VaultService
  readonly backups: BackupDesk
  readonly pairings: Pairings
  readonly devices: DevicesService
  readonly certificates: CertificatesService
  readonly access: AccessService
  readonly calls: CallsService
  readonly gateway: GatewayService
  readonly ssh: SshService
  readonly keys: RotationSchedule
  readonly #services: NodeServices
  readonly #startedMs: number
  /** What is known of the identity while its keys are locked. */
  #known: { readonly did: string; readonly name: string } | undefined
  #control: ControlServer | undefined
  #place: ControlPlace | undefined
  #ready: boolean | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined
  #ended: () => void = () => {}
  /** Resolves when everything has stopped and the home is free. */
  readonly closed: Promise<void>

  constructor(home: Home, config: ConfigHolder, options: RuntimeOptions) {
    const env = options.env ?? process.env
    this.home = home
    this.config = config
    this.clock = options.clock ?? systemClock
    this.random = options.random ?? systemRandom
    this.#startedMs = this.clock.monotonic()
    const { current } = config
    home.tokens?.configure({ environment: env, module: current['hardware.module'] || undefined, file: current['hardware.pin_file'] || undefined })
    this.logs = createLogStore(openLogFile({ path: join(home.paths.log, 'kith.log'), maxBytes: current['log.max_bytes'], keep: current['log.keep'] }))
    this.logger = leveledLogger(createLogger({ level: 'debug', destination: this.logs }), () => config.current['log.level'])
    this.metrics = createMetrics()
    const { clock, random, logger, metrics } = this
    this.events = createEventHub((error) => logger.error('event listener failed', { message: error instanceof Error ? error.message : 'unknown' }))
    this.pairings = createPairings(this.events, clock)
    this.supervisor = new Supervisor({ clock, random, logger })
    this.#services = createServices({
      ...{ home, config, clock, random, logger, metrics },
      environment: env,
      events: this.events,
      supervisor: this.supervisor,
      status: () => this.status(),
      passphrase: options.passphrase,
      passphraseFile: options.passphraseFile,
      identitySources: options.identitySources ?? [],
    })
    this.identity = this.#services.identity
    this.vaults = this.#services.vaults
    this.devices = this.#services.devices
    this.certificates = this.#services.certificates
    this.access = this.#services.access
    this.calls = this.#services.calls
    this.gateway = this.#services.gateway
    this.ssh = this.#services.ssh
    this.keys = this.#services.keys
    this.backups = new BackupDesk({
      home,
      clock,
      random,
      environment: env,
      device: () => (this.supervisor.isRunning('identity') ? this.identity.device : undefined),
      store: () => this.#services.mesh.store,
      audit: () => this.#services.mesh.assembly?.audit,
    })
    nodeMetrics(metrics, { clock, supervisor: this.supervisor, version: version() })
    this.closed = new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  get mesh(): Mesh {
    return this.assembly.mesh
  }

  get assembly(): Assembly {
    return this.#services.running.assembly
  }

  get store(): Store {
    return this.#services.running.store
  }

  get tunnels(): Tunnels {
    return this.#services.running.tunnels
  }

  get forwards(): TunnelsService {
    return this.#services.running.forwards
  }

  get files(): Files {
    return this.#services.running.files
  }

  get credentials(): Credentials {
    return this.#services.running.credentials
  }

  /** Serves a protocol whenever the mesh runs. @throws TypeError for a bad or taken name. */
  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void {
    return this.#services.mesh.handle(protocol, handler, options)
  }

  /** Path of the control socket; null without one. */
  get control(): string | null {
    return this.#control?.socket ?? null
  }

  /** The port that was wanted and is taken; null when it was free. */
  get insteadOfPort(): number | null {
    return this.#services.mesh.insteadOfPort
  }

  /** Opens the control interface, so that the node can be asked whatever happens to its services. */
  async open(options: { readonly control: boolean }): Promise<void> {
    this.#known = await loadSummary(this.home.paths.root)
    if (options.control) await this.#openControl()
  }

  /** Starts the services. One that cannot start leaves the node degraded. Idempotent. */
  startServices(): Promise<void> {
    this.#starting ??= this.#startServices()
    return this.#starting
  }

  async #startServices(): Promise<void> {
    await this.supervisor.start()
    const { listen, degraded } = this.status()
    this.logger.info('node started', { version: version(), listen: listen.map(withoutToken), degraded: degraded.map(({ code }) => code) })
    this.#noteState()
    this.supervisor.onChange(() => this.#noteState())
  }

  /** Tells when the node becomes whole or stops being it. */
  #noteState(): void {
    const ready = this.supervisor.isRunning('mesh')
    if (ready === this.#ready || this.#stopping !== undefined) return
    this.#ready = ready
    const { did, listen, degraded } = this.status()
    if (ready && did !== null) this.events.emit({ type: 'ready', did, listen })
    else this.events.emit({ type: 'degraded', degraded })
  }

  /** Without the rest of the status, which looks at every link: programs ask for it with each call. */
  get did(): string | null {
    return this.identity.did ?? this.#known?.did ?? null
  }

  /** Where peers reach this node. */
  get addresses(): readonly string[] {
    return (this.supervisor.isRunning('mesh') ? this.#services.mesh.assembly : undefined)?.mesh.addresses ?? []
  }

  status(): NodeStatus {
    const running = this.supervisor.isRunning('mesh') ? this.#services.mesh.assembly : undefined
    const summary = this.identity.summary
    return {
      did: summary?.did ?? this.#known?.did ?? null,
      name: summary?.name ?? this.#known?.name ?? null,
      version: version(),
      home: this.home.paths.root,
      pid: process.pid,
      uptime_s: Math.floor((this.clock.monotonic() - this.#startedMs) / 1_000),
      listen: this.addresses,
      degraded: this.supervisor.troubles(),
      peers: running?.mesh.links().map((link) => peerStatus(link, running)) ?? [],
      pairings: this.pairings.recent(),
      tunnels: this.#services.tunnels.tunnels?.list() ?? [],
      ...countStatus(running),
      inbox: this.#services.files.inbox,
      services: this.supervisor.services(),
      vaults: this.vaults.unlocked,
      certificate: this.certificates.status,
      front: this.#services.front.status,
      ...doorStatus(this.gateway, this.ssh, (this.supervisor.isRunning('gateway') && this.config.current['gateway.raw_socket']) || undefined),
      identity: {
        binding_expires_at: summary?.binding_expires_at ?? null,
        passphrase: summary?.passphrase ?? null,
        holds_identity: summary === undefined ? null : !this.identity.deviceOnly,
        hardware: this.identity.hardware,
      },
    }
  }

  /** Stops the services; the control interface and the lock follow when the caller's turn is over. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopServices()
    return this.#stopping
  }

  /** Stops everything and frees the home. Idempotent. */
  async close(): Promise<void> {
    await this.stop()
    await this.closed
  }

  async #stopServices(): Promise<void> {
    this.events.emit({ type: 'stopping' })
    await this.backups.close()
    await this.supervisor.stop()
    this.logger.info('node stopped')
    // The answer to the request that asked for this leaves before its connection is closed.
    this.clock.after(LAST_ANSWER_MS, () => void this.#release(), { keepAlive: true })
  }

  async #release(): Promise<void> {
    try {
      await this.#control?.close()
      if (this.#place !== undefined) await removeToken(this.#place.token)
      this.logs.close()
      await this.home.close()
    } finally {
      this.#ended()
    }
  }

  async #openControl(): Promise<void> {
    // The command line resolves links before it looks for the socket.
    const place = controlPlace(await realpath(this.home.paths.root))
    await prepareControlPlace(place)
    const token = await writeToken(place.token, this.random)
    this.#control = await startControlServer({ place, token, routes: controlRoutes, context: this, logger: this.logger })
    this.#place = place
  }
}

/** Time for the last answer to leave. */
const LAST_ANSWER_MS = 20

/**
 * Takes the home and starts everything.
 * @throws KithError `HOME_IN_USE` (details.pid), `HOME_UNSAFE`, `CONFIG_INVALID`, `DAEMON_RUNNING`. Everything else makes the node degraded.
 */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const home = await takeHome(options.home)
  let runtime: Runtime | undefined
  try {
    const config = await openConfig({
      home: home.paths.root,
      env: options.env ?? process.env,
      ...(options.flags === undefined ? {} : { flags: options.flags }),
    })
    runtime = new Runtime(home, config, options)
    if (options.create !== undefined && !(await hasIdentity(home)) && !(await isDeviceOnly(home)))
      await runtime.identity.create(options.create, options.passphrase)
    await runtime.open({ control: options.control ?? true })
    if (options.start ?? true) await runtime.startServices()
    return runtime
  } catch (error) {
    if (runtime === undefined) await home.close()
    else await runtime.close()
    throw error
  }
}

async function takeHome(directory: string): Promise<Home> {
  try {
    return await openHome(directory)
  } catch (error) {
    if (error instanceof KithError && error.code === 'HOME_IN_USE')
      throw new KithError('HOME_IN_USE', `a node runs already in this home: ${error.message}`, { details: error.details, next: 'kith status', cause: error })
    throw error
  }
}
