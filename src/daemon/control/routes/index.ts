import type { ControlApi } from '../api.ts'
import type { RoutesOf } from '../route.ts'
import { auditRoutes } from './audit.ts'
import { chainsRoutes } from './chains.ts'
import { gossipRoutes } from './gossip.ts'
import { identityRoutes } from './identity.ts'
import { keystoreRoutes } from './keystore.ts'
import { mailRoutes } from './mail.ts'
import { hardwareRoutes } from './hardware.ts'
import { networkRoutes } from './network.ts'
import { nodeRoutes } from './node.ts'
import { peersRoutes } from './peers.ts'
import { policyRoutes } from './policy.ts'
import { servicesRoutes } from './services.ts'
import { trustRoutes } from './trust.ts'
import { vaultRoutes } from './vault.ts'

/** Every route of the control interface. A new group is a file, a line here and one in `api.ts`. */
export const controlRoutes: RoutesOf<ControlApi> = {
  ...nodeRoutes,
  ...identityRoutes,
  ...keystoreRoutes,
  ...peersRoutes,
  ...chainsRoutes,
  ...networkRoutes,
  ...policyRoutes,
  ...servicesRoutes,
  ...auditRoutes,
  ...hardwareRoutes,
  ...trustRoutes,
  ...gossipRoutes,
  ...mailRoutes,
  ...vaultRoutes,
}
