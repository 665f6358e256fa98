import { type Audit, createAudit } from '../core/observe/audit.ts'
import type { Did } from '../identity/did.ts'
import type { Device } from '../identity/types.ts'
import { createMesh } from '../mesh/mesh.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Transport } from '../transport/types.ts'
import { openStanding } from '../trust/standing.ts'
import { openTrustGraph } from '../trust/trust-graph.ts'
import { AuditedMesh } from './audited-mesh.ts'
import { Background } from './background.ts'
import { BookTrust } from './book-trust.ts'
import { auditPairings } from './pairing-audit.ts'
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
  const { config, yieldTurn: _yieldTurn, ...rest } = components
  const { device, store, clock, logger, metrics } = components
  const { did } = device
  const observed = metrics === undefined ? {} : { metrics }
  const background = new Background(logger)
  const audit = createAudit({ store, clock })
  let isKept = (_did: Did): boolean => false
  const standing = opening.use(await openStanding({ store, clock, logger, own: did, audit, kept: (peer) => isKept(peer), ...observed }))
  const graph = opening.use(await openTrustGraph({ did, store, clock, logger, directory: { keys: async () => undefined }, ...observed }))
  const mesh = opening.use(await createMesh({ ...rest, conduct: standing, ...(config?.mesh === undefined ? {} : { config: config.mesh }) }))
  isKept = (peer) => mesh.book.get(peer) !== undefined || graph.score(peer) > 0
  const bookTrust = new BookTrust({ did, book: mesh.book, graph, store, clock, background })
  opening.defer(() => background.close())
  opening.defer(() => bookTrust.close())
  opening.defer(auditPairings(mesh, audit, background))
  const owned = new AuditedMesh(mesh, audit)
  const trust = createTrustDesk({ book: owned.book, graph, standing, bookTrust, audit })
  return new Assembled({ mesh: owned, audit, trust, bookTrust, opened: opening.move() })
}

interface Parts {
  readonly mesh: Mesh
  readonly audit: Audit
  readonly trust: TrustDesk
  readonly bookTrust: BookTrust
  readonly opened: AsyncDisposableStack
}

class Assembled implements Assembly {
  readonly mesh: Mesh
  readonly audit: Audit
  readonly trust: TrustDesk
  readonly #bookTrust: BookTrust
  readonly #opened: AsyncDisposableStack
  #closed: Promise<void> | undefined

  constructor({ mesh, audit, trust, bookTrust, opened }: Parts) {
    this.mesh = mesh
    this.audit = audit
    this.trust = trust
    this.#bookTrust = bookTrust
    this.#opened = opened
  }

  async start(): Promise<void> {
    await this.#bookTrust.start()
    await this.mesh.start()
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
  }

  reload(config: AssemblyConfig): void {
    this.mesh.reload(config.mesh ?? {})
  }
}
