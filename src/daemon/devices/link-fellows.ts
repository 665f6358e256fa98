import { toHex } from '../../core/bytes.ts'
import { asKithError } from '../../core/errors.ts'
import type { Logger } from '../../core/observe/log.ts'
import type { IdentityService } from '../identity/service.ts'
import type { MeshService } from '../mesh-service.ts'
import type { Fellows } from './fellows.ts'

export interface LinkFellowsParts {
  readonly identity: IdentityService
  readonly mesh: MeshService
  readonly logger: Logger
}

/** Links the other machines of this identity, listed or met before, as far as they can be reached. */
export async function linkFellows(parts: LinkFellowsParts, fellows: Fellows, signal: AbortSignal): Promise<void> {
  const { identity, logger } = parts
  const { mesh, devices } = parts.mesh.runningAssembly
  const { did } = identity.device
  const roster = await devices.roster(did)
  const listed = (roster?.latest.devices ?? []).filter(({ status, linkKey }) => status === 'active' && !devices.isRevoked(did, linkKey))
  const keys = new Map([...listed, ...fellows.list()].map(({ linkKey }) => [toHex(linkKey), linkKey]))
  keys.delete(toHex(identity.device.linkSigner.publicKey))
  await Promise.all(
    [...keys.values()].map(async (linkKey) => {
      if (devices.isRevoked(did, linkKey)) return
      await mesh.linkDevice(linkKey, fellows.get(linkKey)?.urls ?? [], { signal }).catch((error: unknown) => {
        logger.debug('a machine of this identity is not reached', { device: toHex(linkKey), code: asKithError(error, 'INTERNAL').code })
      })
    }),
  )
}
