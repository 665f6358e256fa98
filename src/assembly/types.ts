import type { Clock } from '../core/clock.ts'
import type { Audit } from '../core/observe/audit.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Random } from '../core/random.ts'
import type { Store } from '../core/store/types.ts'
import type { Blobs } from '../gossip/blobs/blobs.ts'
import type { Gossip } from '../gossip/types.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState, Device } from '../identity/types.ts'
import type { Discovery } from '../mesh/discovery.ts'
import type { MailboxLimits } from '../mesh/mailbox/quotas.ts'
import type { Mail } from '../mesh/mailbox/types.ts'
import type { Mesh, MeshConfig } from '../mesh/mesh-types.ts'
import type { Messages } from '../mesh/messages/types.ts'
import type { RecoveryDesk } from '../recovery/desk.ts'
import type { RecoveryNews } from '../recovery/types.ts'
import type { Transport } from '../transport/types.ts'
import type { Devices } from './device-bridge.ts'
import type { TrustDesk } from './trust-desk.ts'

/** Settings that `reload` may change while the node runs. */
export interface AssemblyConfig {
  readonly mesh?: MeshConfig
  readonly trust?: {
    /** Least standing of a peer that may link, 0 to 10000. Default 0. */
    readonly minScore?: number
  }
  /** Read when the node is assembled; `reload` does not change it. */
  readonly gossip?: {
    /** Topics that may be defined here. Default 1,000. */
    readonly maxTopics?: number
  }
  /** As `gossip`. */
  readonly mail?: Partial<MailboxLimits>
}

/** Everything a running node is made of that differs between a machine and a simulation. Nothing here reads a global clock or generator. */
export interface AssemblyComponents {
  readonly device: Device
  /** Stays the caller's: it is open when the assembly is made and closed after it. */
  readonly store: Store
  /** Number of this start where it is also counted outside the store. */
  readonly boot?: number
  readonly transports: readonly Transport[]
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly config?: AssemblyConfig
  readonly discovery?: Discovery | readonly Discovery[]
  /** IP addresses of this machine's interfaces. Default: asked of the system. */
  readonly interfaces?: () => readonly string[]
  /** Lets other work of the process run between two slices of long work. Default: a turn of the event loop. */
  readonly yieldTurn?: () => Promise<void>
}

/** A whole node above its files: links, messages, trust, gossip and mail, joined. */
export interface Assembly extends AsyncDisposable {
  /** What the owner changes through it is in the audit log. */
  readonly mesh: Mesh
  readonly audit: Audit
  readonly trust: TrustDesk
  /** Signed messages to machines that are linked. */
  readonly messages: Messages
  /** What the owner makes and removes is in the audit log; topics of the node itself stay as they are. */
  readonly gossip: Gossip
  /** Messages to peers who may be away. What the owner agrees to is in the audit log. */
  readonly mail: Mail
  readonly blobs: Blobs
  /** Which machines identities have. */
  readonly devices: Devices
  /** Giving identities back to their owners by trustees. */
  readonly recovery: Recoveries
  /** Begins to link and to talk. `mesh.listen` may come before. @throws KithError `STORE_FAILED`. */
  start(): Promise<void>
  /** Stops in the reverse order of the start. Idempotent. Store and device stay open. */
  close(): Promise<void>
  /** Goes on with another device: as `Mesh.replaceDevice`, for every part that signs. */
  replaceDevice(device: Device, options?: { readonly transports?: readonly Transport[] }): Promise<void>
  /** @throws TypeError for a bad value; nothing is changed then. */
  reload(config: AssemblyConfig): void
}

/** Recoveries by trustees, and the way to let those know at once whom one concerns. */
export interface Recoveries {
  readonly desk: RecoveryDesk
  /** Resolves when they have answered, or after ten seconds. */
  tell(): Promise<void>
  /** Told of each recovery that becomes known here or goes on. The listener does not throw. Returns the way to stop. */
  onNews(listener: (news: RecoveryNews) => void): () => void
  /** Takes a request or attestation that was brought by hand. @throws as `RecoveryDesk.take`. */
  take(message: Uint8Array): Promise<void>
  /** The history of an identity, asked of linked peers. @throws KithError `RECOVERY_CHAIN` when none of them shows it. */
  learnHistory(did: Did): Promise<ChainState>
}
