import { KithError } from '../../core/errors.ts'
import { type Random, systemRandom } from '../../core/random.ts'
import type { LocalDevice } from '../../identity/device.ts'
import type { Home } from '../../identity/home.ts'
import type { IdentityKeys } from '../../identity/identity-keys.ts'
import { randomKeySeeds } from '../../identity/keys.ts'
import { type KeystoreOptions, rotateIdentity } from '../../identity/keystore.ts'
import type { RecoveryPolicy } from '../../identity/types.ts'
import { phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import { followKeys } from '../devices/follow.ts'

/** Why an identity's keys are replaced (PN-6): `compromised` ends all bindings of the keys before at once, the others let them run out. */
export const ROTATION_REASONS = ['scheduled', 'lost', 'compromised'] as const
export type RotationReason = (typeof ROTATION_REASONS)[number]

/**
 * Reveals the next keys of an identity and commits to the ones after them, which come from its phrase. `identity` is closed; the device has its new binding.
 * @throws KithError `IDENTITY_LOCKED` on a machine that was restored without its chain.
 */
export async function rotateKeys(
  home: Home,
  device: LocalDevice,
  identity: IdentityKeys,
  reason: RotationReason,
  options: KeystoreOptions & { readonly random?: Random; readonly policy?: RecoveryPolicy },
): Promise<void> {
  if (!identity.mayRotate) {
    throw new KithError('IDENTITY_LOCKED', 'This machine uses the identity and does not rotate it, since another machine may have done so.', {
      next: 'kith id rotation take (to do it here)',
    })
  }
  const phrase = identity.phrase()
  const seed = phrase === undefined ? undefined : phraseToSeed(phrase)
  phrase?.wipe()
  try {
    const after = identity.content.generation + 2
    const next = seed === undefined ? randomKeySeeds(options.random ?? systemRandom) : deriveIdentitySeeds(seed, after)
    const rotated = await rotateIdentity(home, device, identity, { ...options, reason, next })
    try {
      await followKeys(home, rotated.identity, device, options)
    } finally {
      rotated.identity.close()
    }
  } finally {
    seed?.wipe()
  }
}
