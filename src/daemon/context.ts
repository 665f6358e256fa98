import type { Assembly } from '../assembly/types.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { MetricsRegistry } from '../core/observe/metrics.ts'
import type { Random } from '../core/random.ts'
import type { Store } from '../core/store/types.ts'
import type { Files } from '../files/index.ts'
import type { Home } from '../identity/home.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Tunnels } from '../tunnel/index.ts'
import type { Credentials } from '../vault/credentials/credentials.ts'
import type { AccessService } from './access/service.ts'
import type { BackupDesk } from './backup/desk.ts'
import type { ConfigHolder } from './config/holder.ts'
import type { DevicesService } from './devices/service.ts'
import type { EventHub } from './events.ts'
import type { IdentityService } from './identity/service.ts'
import type { LogStore } from './logs/store.ts'
import type { CallsService } from './services/calls.ts'
import type { CertificatesService } from './services/certificates.ts'
import type { GatewayService } from './services/gateway.ts'
import type { SshService } from './services/ssh.ts'
import type { TunnelsService } from './services/tunnels.ts'
import type { NodeStatus } from './status.ts'
import type { Supervisor } from './supervisor.ts'
import type { VaultService } from './vault/service.ts'

/** The running node as its services and control routes see it. */
export interface NodeContext {
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
  readonly devices: DevicesService
  readonly vaults: VaultService
  readonly certificates: CertificatesService
  readonly backups: BackupDesk
  readonly ssh: SshService
  /** @throws KithError that says why the node has no mesh at the moment: `IDENTITY_MISSING`, `IDENTITY_LOCKED`, `DEGRADED`. */
  readonly mesh: Mesh
  /** @throws as `mesh`. */
  readonly assembly: Assembly
  /** @throws as `mesh`. */
  readonly credentials: Credentials
  /** @throws as `mesh`. */
  readonly store: Store
  /** @throws as `mesh`. */
  readonly tunnels: Tunnels
  /** Saves and forgets forwards. @throws as `mesh`. */
  readonly forwards: TunnelsService
  /** Who comes in by which door: every door asks it. */
  readonly access: AccessService
  /** Its methods throw as `mesh`. */
  readonly calls: CallsService
  readonly gateway: GatewayService
  /** @throws as `mesh`. */
  readonly files: Files
  status(): NodeStatus
  /** Stops all services, then, once the answer is out, the control interface. */
  stop(): Promise<void>
}
