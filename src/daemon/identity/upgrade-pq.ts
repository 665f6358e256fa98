import { KithError } from '../../core/errors.ts'
import { openIdentity } from '../../identity/keystore.ts'
import { rotateKeys } from './rotate.ts'
import type { OpenedIdentity } from './service.ts'

/**
 * Gives an identity the post-quantum key it was made without. The DID stays: the key comes by the chain (PN-6), where keys are committed to a rotation ahead, so that
 * an identity whose next keys have none either rotates twice. Cut after the first time, the same again does the second. From then on nobody accepts an entry
 * without one.
 * @returns the number of rotations: 0 when it had the key already.
 * @throws KithError `IDENTITY_LOCKED` on a machine that may not rotate, `KEYSTORE_NOT_SAVED`.
 */
export async function upgradePostQuantum({ home, device, identity, options }: OpenedIdentity): Promise<0 | 1 | 2> {
  if (identity.chain.keys.mldsa !== undefined) return 0
  await rotateKeys(home, device, identity, 'scheduled', options)
  using second = await openIdentity(home, options)
  if (second.chain.keys.mldsa !== undefined) return 1
  await rotateKeys(home, device, second, 'scheduled', options)
  using last = await openIdentity(home, options)
  if (last.chain.keys.mldsa === undefined) throw new KithError('INTERNAL', 'two rotations did not bring the post-quantum key')
  return 2
}
