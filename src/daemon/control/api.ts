import type { AccessApi } from './routes/access-api.ts'
import type { AuditApi } from './routes/audit-api.ts'
import type { BackupApi } from './routes/backup-api.ts'
import type { CallsApi } from './routes/calls-api.ts'
import type { CertificatesApi } from './routes/certificates-api.ts'
import type { ChainsApi } from './routes/chains-api.ts'
import type { CredentialsApi } from './routes/credentials-api.ts'
import type { DevicesApi } from './routes/devices-api.ts'
import type { GossipApi } from './routes/gossip-api.ts'
import type { HardwareApi } from './routes/hardware-api.ts'
import type { IdentityApi } from './routes/identity-api.ts'
import type { KeystoreApi } from './routes/keystore-api.ts'
import type { MailApi } from './routes/mail-api.ts'
import type { NetworkApi } from './routes/network-api.ts'
import type { NodeApi } from './routes/node.ts'
import type { PeersApi } from './routes/peers-api.ts'
import type { PolicyApi } from './routes/policy-api.ts'
import type { RecoveryApi } from './routes/recovery-api.ts'
import type { ServicesApi } from './routes/services-api.ts'
import type { SshApi } from './routes/ssh-api.ts'
import type { ToolsApi } from './routes/tools-api.ts'
import type { TreasuryApi } from './routes/treasury-api.ts'
import type { TrustApi } from './routes/trust-api.ts'
import type { VaultApi } from './routes/vault-api.ts'

/** Everything the command line can ask of the daemon. Each group stands beside its routes. */
export interface ControlApi
  extends NodeApi,
    IdentityApi,
    DevicesApi,
    KeystoreApi,
    HardwareApi,
    PeersApi,
    CertificatesApi,
    ChainsApi,
    CallsApi,
    NetworkApi,
    PolicyApi,
    AccessApi,
    RecoveryApi,
    ServicesApi,
    SshApi,
    AuditApi,
    BackupApi,
    CredentialsApi,
    ToolsApi,
    TreasuryApi,
    TrustApi,
    GossipApi,
    MailApi,
    VaultApi {}
