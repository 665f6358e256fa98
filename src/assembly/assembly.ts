import type { Audit } from '../core/observe/audit.ts'
import type { Blobs } from '../gossip/blobs/blobs.ts'
import type { Gossip } from '../gossip/types.ts'
import type { Device } from '../identity/types.ts'
import type { Mail } from '../mesh/mailbox/types.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Messages } from '../mesh/messages/types.ts'
import type { Transport } from '../transport/types.ts'
import { auditedGossip } from './audited-gossip.ts'
import { auditedMail } from './audited-mail.ts'
import { AuditedMesh } from './audited-mesh.ts'
import type { Devices } from './device-bridge.ts'
import { openParts, type Parts } from './open.ts'
import { oracleSettings } from './oracle-policy.ts'
import type { RecoveryBridge } from './recovery-bridge.ts'
import { createTrustDesk, type TrustDesk } from './trust-desk.ts'
import type { Assembly, AssemblyComponents, AssemblyConfig } from './types.ts'

/**
 * Opens every part of a node and joins them; nothing touches the network before `start`, `mesh.listen` or a dial. When a part does not open, those that did
 * are closed again.
 * @throws TypeError for a bad configuration. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`.
 */
export async function createAssembly(components: AssemblyComponents): Promise<Assembly> {
  // Closes in the reverse order of opening.
  await using opening = new AsyncDisposableStack()
  const parts = await openParts(components, opening)
  return new Assembled(parts, opening.move())
}

class Assembled implements Assembly {
  readonly mesh: Mesh
  readonly audit: Audit
  readonly trust: TrustDesk
  readonly messages: Messages
  readonly gossip: Gossip
  readonly mail: Mail
  readonly blobs: Blobs
  readonly devices: Devices
  readonly recovery: RecoveryBridge
  readonly #parts: Parts
  readonly #opened: AsyncDisposableStack
  #started: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(parts: Parts, opened: AsyncDisposableStack) {
    const { audit, graph, standing, bookTrust } = parts
    this.mesh = new AuditedMesh(parts.mesh, audit, (did) => standing.forkDecided(did))
    this.audit = audit
    this.trust = createTrustDesk({ book: this.mesh.book, graph, standing, bookTrust, audit })
    this.messages = parts.messages
    this.gossip = auditedGossip(parts.gossip, audit)
    this.mail = auditedMail(parts.mail, parts.mesh.book, audit)
    this.blobs = parts.blobs
    this.devices = parts.devices
    this.recovery = parts.recovery
    this.#parts = parts
    this.#opened = opened
  }

  start(): Promise<void> {
    this.#started ??= this.#start()
    return this.#started
  }

  close(): Promise<void> {
    this.#closed ??= this.#opened.disposeAsync()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async replaceDevice(device: Device, options: { readonly transports?: readonly Transport[] } = {}): Promise<void> {
    await this.mesh.replaceDevice(device, options)
    this.#parts.device = device
    this.#parts.updates.papersChanged()
    // A rotation ends what others asked for.
    this.#parts.recovery.desk.start()
  }

  reload(config: AssemblyConfig): void {
    const settings = oracleSettings(config)
    this.mesh.reload(config.mesh ?? {})
    this.#parts.settings = settings
    this.#parts.settingsChanged()
  }

  /** Links come last: when the first peer is there, everything that talks to it is ready. */
  async #start(): Promise<void> {
    const { bookTrust, attestations, evidence, updates, devices, recovery, gossip, mail, mesh } = this.#parts
    await bookTrust.start()
    attestations.start()
    evidence.start()
    updates.start()
    devices.start()
    recovery.start()
    await gossip.start()
    await mail.start()
    await mesh.start()
  }
}
