import type { ControlApi } from '../api.ts'
import type { RoutesOf } from '../route.ts'
import { accessRoutes } from './access.ts'
import { auditRoutes } from './audit.ts'
import { backupRoutes } from './backup.ts'
import { callsRoutes } from './calls.ts'
import { certificatesRoutes } from './certificates.ts'
import { chainsRoutes } from './chains.ts'
import { credentialsRoutes } from './credentials.ts'
import { devicesRoutes } from './devices.ts'
import { gossipRoutes } from './gossip.ts'
import { hardwareRoutes } from './hardware.ts'
import { identityRoutes } from './identity.ts'
import { keystoreRoutes } from './keystore.ts'
import { mailRoutes } from './mail.ts'
import { networkRoutes } from './network.ts'
import { nodeRoutes } from './node.ts'
import { peersRoutes } from './peers.ts'
import { policyRoutes } from './policy.ts'
import { recoveryRoutes } from './recovery.ts'
import { servicesRoutes } from './services.ts'
import { sshRoutes } from './ssh.ts'
import { toolsRoutes } from './tools.ts'
import { treasuryRoutes } from './treasury.ts'
import { trustRoutes } from './trust.ts'
import { vaultRoutes } from './vault.ts'

/** Every route of the control interface. A new group is a file, a line here and one in `api.ts`. */
export const controlRoutes: RoutesOf<ControlApi> = {
  ...nodeRoutes,
  ...identityRoutes,
  ...devicesRoutes,
  ...keystoreRoutes,
  ...hardwareRoutes,
  ...peersRoutes,
  ...certificatesRoutes,
  ...chainsRoutes,
  ...callsRoutes,
  ...networkRoutes,
  ...policyRoutes,
  ...accessRoutes,
  ...recoveryRoutes,
  ...servicesRoutes,
  ...sshRoutes,
  ...auditRoutes,
  ...backupRoutes,
  ...credentialsRoutes,
  ...toolsRoutes,
  ...treasuryRoutes,
  ...trustRoutes,
  ...gossipRoutes,
  ...mailRoutes,
  ...vaultRoutes,
}
