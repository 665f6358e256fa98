import { type Audit, createAudit } from '../core/observe/audit.ts'
import type { Device } from '../identity/types.ts'
import { createMesh } from '../mesh/mesh.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Transport } from '../transport/types.ts'
import { AuditedMesh } from './audited-mesh.ts'
import { Background } from './background.ts'
import { auditPairings } from './pairing-audit.ts'
import type { Assembly, AssemblyComponents, AssemblyConfig } from './types.ts'

/**
 * Opens every part of a node and joins them; nothing touches the network before `start`, `mesh.listen` or a dial.
 * @throws TypeError for a bad configuration. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`.
 */
export async function createAssembly(components: AssemblyComponents): Promise<Assembly> {
  const { config, yieldTurn: _yieldTurn, ...rest } = components
  const { store, clock, logger } = components
  const audit = createAudit({ store, clock })
  const mesh = await createMesh({ ...rest, ...(config?.mesh === undefined ? {} : { config: config.mesh }) })
  return new Assembled({ mesh, audit, background: new Background(logger) })
}

interface Parts {
  readonly mesh: Mesh
  readonly audit: Audit
  readonly background: Background
}

class Assembled implements Assembly {
  readonly mesh: Mesh
  readonly audit: Audit
  readonly #background: Background
  readonly #bridges: readonly (() => void)[]
  #closed: Promise<void> | undefined

  constructor({ mesh, audit, background }: Parts) {
    this.mesh = new AuditedMesh(mesh, audit)
    this.audit = audit
    this.#background = background
    this.#bridges = [auditPairings(mesh, audit, background)]
  }

  async start(): Promise<void> {
    await this.mesh.start()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
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

  async #close(): Promise<void> {
    await this.mesh.close()
    for (const stop of this.#bridges) stop()
    await this.#background.close()
  }
}
