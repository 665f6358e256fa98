import { systemClock } from '../../core/clock.ts'
import type { Tokens } from '../../identity/hardware/tokens.ts'
import { openHome } from '../../identity/home.ts'
import { openDevice, openIdentity, renewBinding, rotateDeviceKey } from '../../identity/keystore.ts'
import type { Passphrase } from '../../identity/passphrase.ts'
import { followKeys } from '../devices/follow.ts'
import { describeDevice, type IdentitySummary, saveSummary } from './describe.ts'
import { modeOf, workFactorFor } from './protection.ts'
import { type RotationReason, rotateKeys } from './rotate.ts'

/** What is done to the keys of a home: this machine's certified anew or replaced, or the identity's replaced, for a reason. */
export type KeyChange = 'renew' | 'rotate' | { readonly rotateIdentity: RotationReason }

/**
 * Changes the keys of a home while no node runs. The passphrase stays the caller's.
 * @throws KithError `HOME_IN_USE`, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`, `TOKEN_*`.
 */
export async function changeDevice(directory: string, passphrase: Passphrase, what: KeyChange, tokens?: Tokens): Promise<IdentitySummary> {
  await using home = await openHome(directory, { create: false, ...(tokens === undefined ? {} : { tokens }) })
  const options = { passphrase: passphrase.secret, clock: systemClock, ...workFactorFor(passphrase) }
  using device = await openDevice(home, { ...options, renew: false })
  using identity = await openIdentity(home, options)
  if (what === 'renew') await renewBinding(home, device, identity, options)
  if (typeof what === 'object') await rotateKeys(home, device, identity, what.rotateIdentity, options)
  using current = what === 'rotate' ? await rotateDeviceKey(home, device, identity, options) : device
  if (current !== device) await followKeys(home, identity, current, { replaces: device.linkSigner.publicKey })
  const summary = describeDevice(current, modeOf(passphrase))
  await saveSummary(home.paths.root, summary)
  return summary
}
