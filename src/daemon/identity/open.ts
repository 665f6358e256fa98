import { rename } from 'node:fs/promises'
import { isKithError } from '../../core/errors.ts'
import type { LocalDevice } from '../../identity/device.ts'
import { isDeviceOnly } from '../../identity/device-home.ts'
import type { Home } from '../../identity/home.ts'
import { type KeystoreOptions, openDevice, openIdentity } from '../../identity/keystore.ts'
import { signalDuress } from './duress.ts'

/**
 * Opens the device's keys. When they do not open but the identity does, the two files came from different copies of the home: the device is made anew, what
 * stood there is kept aside, and peers find its new key by themselves.
 * @throws KithError as `openDevice`.
 */
export async function openDeviceWith(home: Home, options: KeystoreOptions & { renew?: boolean }): Promise<LocalDevice> {
  const device = await openOrReplace(home, options)
  await signalDuress(home, device)
  return device
}

async function openOrReplace(home: Home, options: KeystoreOptions & { renew?: boolean }): Promise<LocalDevice> {
  try {
    return await openDevice(home, options)
  } catch (error) {
    // Without the identity here there is nothing that could make the device anew.
    if (!isKithError(error, 'PASSPHRASE_WRONG') || (await isDeviceOnly(home))) throw error
    const identity = await openIdentity(home, options)
    identity.close()
    await rename(home.paths.device, `${home.paths.device}.unopened`)
    return await openDevice(home, options)
  }
}
