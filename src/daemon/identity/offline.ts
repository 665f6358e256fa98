import { systemClock } from '../../core/clock.ts'
import { openHome } from '../../identity/home.ts'
import { openDevice, openIdentity, renewBinding, rotateDeviceKey } from '../../identity/keystore.ts'
import type { Passphrase } from '../../identity/passphrase.ts'
import { describeDevice, type IdentitySummary, saveSummary } from './describe.ts'
import { STORED_WORK_FACTOR } from './setup.ts'

/**
 * Rotates or renews this machine's keys while no node runs. The passphrase stays the caller's.
 * @throws KithError `HOME_IN_USE`, `PASSPHRASE_WRONG`, `IDENTITY_MISSING`.
 */
export async function changeDevice(directory: string, passphrase: Passphrase, what: 'rotate' | 'renew'): Promise<IdentitySummary> {
  await using home = await openHome(directory, { create: false })
  const stored = passphrase.source === 'state'
  const options = { passphrase: passphrase.secret, clock: systemClock, ...(stored ? { workFactor: STORED_WORK_FACTOR } : {}) }
  using device = await openDevice(home, { ...options, renew: false })
  using identity = await openIdentity(home, options)
  if (what === 'renew') await renewBinding(home, device, identity, options)
  using current = what === 'rotate' ? await rotateDeviceKey(home, device, identity, options) : device
  const summary = describeDevice(current, stored ? 'stored' : 'passphrase')
  await saveSummary(home.paths.root, summary)
  return summary
}
