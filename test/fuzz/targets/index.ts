import type { FuzzTarget } from '../mutate.ts'
import { accessTargets } from './access.ts'
import { assemblyTargets } from './assembly.ts'
import { backupTargets } from './backup.ts'
import { blobTargets } from './blobs.ts'
import { callTargets } from './calls.ts'
import { conductTargets } from './conduct.ts'
import { coreTargets } from './core.ts'
import { credentialTargets } from './credentials.ts'
import { daemonTargets } from './daemon.ts'
import { deviceTargets } from './devices.ts'
import { doorTargets } from './doors.ts'
import { frontTargets } from './front.ts'
import { gatewayTargets } from './gateway.ts'
import { gossipTargets } from './gossip.ts'
import { hardwareTargets } from './hardware.ts'
import { helloTargets } from './hello.ts'
import { identityTargets } from './identity.ts'
import { keystoreTargets } from './keystore.ts'
import { mailboxTargets } from './mailbox.ts'
import { mdnsTargets } from './mdns.ts'
import { meshTargets } from './mesh.ts'
import { messageTargets } from './messages.ts'
import { muxTargets } from './mux.ts'
import { postQuantumTargets } from './postquantum.ts'
import { quicTargets } from './quic.ts'
import { recoveryTargets } from './recovery.ts'
import { serviceTargets } from './services.ts'
import { sshTargets } from './ssh.ts'
import { streamTargets } from './stream.ts'
import { trustTargets } from './trust.ts'
import { tunnelTargets } from './tunnels.ts'
import { vaultTargets } from './vault.ts'
import { workerTargets } from './workers.ts'

/** Every target, for the replay of the kept corpus. */
export const allTargets: readonly FuzzTarget[] = [
  ...coreTargets,
  ...accessTargets,
  ...streamTargets,
  ...postQuantumTargets,
  ...muxTargets,
  ...quicTargets,
  ...helloTargets,
  ...meshTargets,
  ...messageTargets,
  ...mailboxTargets,
  ...mdnsTargets,
  ...identityTargets,
  ...keystoreTargets,
  ...hardwareTargets,
  ...deviceTargets,
  ...serviceTargets,
  ...callTargets,
  ...workerTargets,
  ...doorTargets,
  ...frontTargets,
  ...sshTargets,
  ...gatewayTargets,
  ...gossipTargets,
  ...blobTargets,
  ...trustTargets,
  ...tunnelTargets,
  ...conductTargets,
  ...assemblyTargets,
  ...credentialTargets,
  ...daemonTargets,
  ...recoveryTargets,
  ...vaultTargets,
  ...backupTargets,
]
