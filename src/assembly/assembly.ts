import type { Device } from '../identity/types.ts'
import { createMesh } from '../mesh/mesh.ts'
import type { Mesh } from '../mesh/mesh-types.ts'
import type { Transport } from '../transport/types.ts'
import type { Assembly, AssemblyComponents, AssemblyConfig } from './types.ts'

/**
 * Opens every part of a node and joins them; nothing touches the network before `start`, `mesh.listen` or a dial.
 * @throws TypeError for a bad configuration. @throws KithError `STORE_FAILED`, `WIRE_MALFORMED`.
 */
export async function createAssembly(components: AssemblyComponents): Promise<Assembly> {
  const { config, yieldTurn: _yieldTurn, ...rest } = components
  const mesh = await createMesh({ ...rest, ...(config?.mesh === undefined ? {} : { config: config.mesh }) })
  return new Assembled(mesh)
}

class Assembled implements Assembly {
  readonly mesh: Mesh

  constructor(mesh: Mesh) {
    this.mesh = mesh
  }

  async start(): Promise<void> {
    await this.mesh.start()
  }

  close(): Promise<void> {
    return this.mesh.close()
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
