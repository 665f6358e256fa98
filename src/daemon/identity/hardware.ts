import { systemRandom } from '../../core/random.ts'
import { attestationOf, type KeyAttestation } from '../../core/signer.ts'
import { formatTokenUri, parseTokenUri } from '../../identity/hardware/uri.ts'
import type { IdentityKeys } from '../../identity/identity-keys.ts'
import { isTokenKey, type KeySeeds, randomKeySeeds, type TokenKey, wipeSeeds } from '../../identity/keys.ts'
import { rotateIdentity } from '../../identity/keystore.ts'
import { phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import type { RotationReason } from './rotate.ts'
import type { OpenedIdentity } from './service.ts'

/** The address of a key with the module it is reached through. @throws KithError `USAGE`. */
export function addressOf(uri: string, module: string | undefined): string {
  return module === undefined ? uri : formatTokenUri({ ...parseTokenUri(uri), modulePath: module })
}

/** The Ed25519 half is in the token, the ML-DSA half from the phrase: no token signs with ML-DSA yet, and the phrase stays a way back for it. */
export function keysInToken(key: TokenKey, rest: KeySeeds): KeySeeds {
  if (!isTokenKey(rest.ed25519)) rest.ed25519.wipe()
  return { ed25519: key, mldsa: rest.mldsa }
}

/**
 * Reveals the keys the identity committed to and commits to a key in a token: the first of two steps into hardware, since a commitment is never changed.
 * The next rotation, whenever it comes, makes the key in the token the one that signs.
 * @throws KithError `IDENTITY_LOCKED`, and what `rotateIdentity` throws.
 */
export async function commitToToken({ home, identity, device, options }: OpenedIdentity, key: TokenKey, reason: RotationReason): Promise<void> {
  const next = keysInToken(key, generationAfter(identity))
  try {
    const rotated = await rotateIdentity(home, device, identity, { ...options, reason, next })
    rotated.identity.close()
  } catch (error) {
    wipeSeeds(next)
    throw error
  }
}

/** The keys after the next ones. */
function generationAfter(identity: IdentityKeys): KeySeeds {
  const phrase = identity.phrase()
  if (phrase === undefined) return randomKeySeeds(systemRandom)
  const seed = phraseToSeed(phrase)
  phrase.wipe()
  try {
    return deriveIdentitySeeds(seed, identity.content.generation + 2)
  } finally {
    seed.wipe()
  }
}

/** What the place of the present key says of it; opens the token. @throws KithError `TOKEN_*`. */
export function attestIdentity(identity: IdentityKeys): KeyAttestation {
  return attestationOf(identity.signer.ed25519)
}
