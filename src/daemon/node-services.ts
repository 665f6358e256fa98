import type { IdentitySource } from '../access/sources.ts'
import type { Assembly } from '../assembly/types.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { MetricsRegistry } from '../core/observe/metrics.ts'
import type { Random } from '../core/random.ts'
import type { Secret } from '../core/secret.ts'
import type { Store } from '../core/store/types.ts'
import type { Files } from '../files/index.ts'
import type { Home } from '../identity/home.ts'
import type { Tunnels } from '../tunnel/index.ts'
import type { Credentials } from '../vault/credentials/credentials.ts'
import { AccessService } from './access/service.ts'
import type { ConfigHolder } from './config/holder.ts'
import { CredentialsService } from './credentials/service.ts'
import { DevicesService } from './devices/service.ts'
import type { EventHub } from './events.ts'
import { keySettings } from './identity/key-settings.ts'
import { RotationSchedule } from './identity/schedule.ts'
import { IdentityService } from './identity/service.ts'
import { MeshService } from './mesh-service.ts'
import type { Service } from './service.ts'
import { CallsService } from './services/calls.ts'
import { CertificatesService } from './services/certificates.ts'
import { ControlChannelService } from './services/control-channel.ts'
import { FilesService } from './services/files.ts'
import { FrontService } from './services/front.ts'
import { GatewayService } from './services/gateway.ts'
import { ownOperations } from './services/own-operations.ts'
import { SshService } from './services/ssh.ts'
import { TunnelsService } from './services/tunnels.ts'
import type { NodeStatus } from './status.ts'
import type { Supervisor } from './supervisor.ts'
import { vaultOperations } from './vault/calls.ts'
import { VaultService } from './vault/service.ts'

export interface ServiceParts {
  readonly home: Home
  readonly config: ConfigHolder
  readonly environment: NodeJS.ProcessEnv
  readonly events: EventHub
  readonly supervisor: Supervisor
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics: MetricsRegistry
  readonly status: () => NodeStatus
  readonly passphrase: Secret | undefined
  readonly passphraseFile: string | undefined
  readonly identitySources: readonly IdentitySource[]
}

/** What runs, of the services that have something to give. @throws KithError that says why it does not: `IDENTITY_MISSING`, `IDENTITY_LOCKED`, `DEGRADED`. */
export interface Running {
  readonly assembly: Assembly
  readonly store: Store
  readonly tunnels: Tunnels
  readonly forwards: TunnelsService
  readonly files: Files
  readonly credentials: Credentials
}

export interface NodeServices {
  readonly identity: IdentityService
  readonly vaults: VaultService
  readonly certificates: CertificatesService
  readonly front: FrontService
  readonly mesh: MeshService
  readonly devices: DevicesService
  readonly tunnels: TunnelsService
  readonly files: FilesService
  readonly access: AccessService
  readonly calls: CallsService
  readonly gateway: GatewayService
  readonly ssh: SshService
  readonly keys: RotationSchedule
  readonly running: Running
}

/** The services of a node, each told of the others what it needs, added to the supervisor in the order in which they start. */
export function createServices(parts: ServiceParts): NodeServices {
  const { home, config, environment, events, supervisor, clock, random, logger, metrics, status, passphrase, passphraseFile, identitySources } = parts
  const identity = new IdentityService({
    home,
    clock,
    random,
    logger,
    environment,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(passphraseFile === undefined ? {} : { passphraseFile }),
  })
  const mesh = new MeshService({ home, config, identity, front: () => front, events, clock, random, logger, metrics })
  identity.onChange = (what) => (what === 'keys' ? mesh.deviceChanged() : mesh.bindingChanged()).then(() => devices.keysChanged())
  const vaults = new VaultService({
    home,
    config,
    identity,
    audit: () => (supervisor.isRunning('mesh') ? mesh.assembly?.audit : undefined),
    environment,
    clock,
    random,
    logger,
    metrics,
  })
  const certificates = new CertificatesService({
    home,
    config,
    vault: () => vaults.get(),
    audit: () => (supervisor.isRunning('mesh') ? mesh.assembly?.audit : undefined),
    clock,
    random,
    logger,
    metrics,
  })
  const front: FrontService = new FrontService({ home, config, certificates, clock, random, logger, metrics })
  const devices: DevicesService = new DevicesService({ home, identity, mesh, clock, random, logger })
  const tunnels = new TunnelsService({ mesh, config, vaults, root: home.paths.root, clock, random, logger })
  const files = new FilesService({ home, config, mesh, clock, logger })
  const access = new AccessService({ mesh, config, clock, logger, metrics, sources: identitySources })
  const calls = new CallsService({ mesh, access: (running) => access.callAccess(running), clock, random, logger, metrics })
  calls.registry.registerAll(ownOperations({ status }))
  calls.registry.registerAll(
    vaultOperations({
      opened: (name) => vaults.opened(name),
      policy: () => mesh.running.policy,
      audit: () => mesh.assembly?.audit,
      clock,
      logger,
    }),
  )
  const credentials = new CredentialsService({ config, mesh, vault: () => vaults.get(), environment, clock, random, logger, metrics })
  const running = runningOf(supervisor, { mesh, tunnels, files, credentials })
  const gateway = new GatewayService({
    config,
    callee: () => calls.callee,
    identities: () => access,
    offer: (operations) => calls.offer(operations),
    taken: (name) => calls.registry.get(name) !== undefined,
    credentials: () => running.credentials,
    clock,
    random,
    logger,
  })
  const ssh = new SshService({
    config,
    vaults,
    identities: () => access,
    callee: () => calls.callee,
    tunnels: () => running.tunnels,
    front,
    clock,
    logger,
    metrics,
  })
  mesh.doors = () => [gateway.address, gateway.rawAddress, ssh.address, front.address, certificates.challengeAddress, ...(tunnels.tunnels?.entries() ?? [])]
  vaults.onUnlocked = () => {
    certificates.vaultUnlocked()
    if (!ssh.opensVault) void supervisor.retry('ssh')
  }
  const keys = new RotationSchedule({
    identity,
    settings: () => keySettings(config.current),
    isBusy: () => tunnels.tunnels?.list().some(({ connections }) => connections > 0) === true,
    note: async (action, details) => {
      const subject = identity.device.did
      await mesh.assembly?.audit.append({ actor: 'node', action, subject, reason: 'by its age', details })
    },
    clock,
    logger,
    metrics,
  })
  const inOrder: readonly Service[] = [
    identity,
    vaults,
    certificates,
    front,
    mesh,
    devices,
    tunnels,
    files,
    access,
    calls,
    new ControlChannelService({ tunnels: () => running.tunnels, callee: () => calls.callee, identities: () => access, clock, logger }),
    credentials,
    gateway,
    ssh,
    keys,
  ]
  for (const service of inOrder) supervisor.add(service)
  return { identity, vaults, certificates, front, mesh, devices, tunnels, files, access, calls, gateway, ssh, keys, running }
}

function runningOf(supervisor: Supervisor, of: Pick<NodeServices, 'mesh' | 'tunnels' | 'files'> & { readonly credentials: CredentialsService }): Running {
  const { mesh, tunnels, files, credentials } = of
  const give = <T>(service: string, value: () => T): T => {
    const error = supervisor.errorOf(service)
    if (error !== undefined) throw error
    return value()
  }
  return {
    get assembly() {
      return give('mesh', () => mesh.assembly as Assembly)
    },
    get store() {
      return give('mesh', () => mesh.runningStore)
    },
    get tunnels() {
      return give('tunnels', () => tunnels.tunnels as Tunnels)
    },
    get forwards() {
      return give('tunnels', () => tunnels)
    },
    get files() {
      return give('files', () => files.files as Files)
    },
    get credentials() {
      return give('credentials', () => credentials.credentials as Credentials)
    },
  }
}
