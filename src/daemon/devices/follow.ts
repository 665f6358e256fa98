import type { PublicKey } from '../../core/bytes.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { isKithError } from '../../core/errors.ts'
import type { LocalDevice } from '../../identity/device.ts'
import { refreshDocument } from '../../identity/device-desk.ts'
import type { Home } from '../../identity/home.ts'
import type { IdentityKeys } from '../../identity/identity-keys.ts'

/**
 * Signs the list of machines anew after keys changed: by the identity's present keys, and with this machine's present link key in the place of the one before. The keys
 * have changed already, so a list that cannot be signed now is signed with the next machine that is approved or revoked; nothing is accepted meanwhile that was not.
 */
export async function followKeys(
  home: Home,
  identity: IdentityKeys,
  device: Pick<LocalDevice, 'linkSigner' | 'name'>,
  options: { readonly clock?: Clock; readonly replaces?: PublicKey },
): Promise<void> {
  const { clock = systemClock, replaces } = options
  const own = { linkKey: device.linkSigner.publicKey, name: device.name }
  try {
    await refreshDocument({ home, identity, own, now: clock.now() }, replaces === undefined ? {} : { replaces })
  } catch (error) {
    if (!isKithError(error)) throw error
  }
}
