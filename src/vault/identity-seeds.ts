import type { Secret } from '../core/secret.ts'
import { identityKeyPath, identityMldsaPath } from './paths.ts'
import { deriveEd25519 } from './slip10.ts'

/** The seeds of one generation of an identity's keys. The caller owns and wipes them. */
export interface IdentitySeeds {
  readonly ed25519: Secret
  readonly mldsa: Secret
}

/**
 * Derives a generation's key seeds from the BIP39 seed (PN-6): generation 0 is the key of the DID, generation v + 1 is what entry v commits to.
 * @throws KithError `PATH_INVALID` for a generation outside 0..2^31-1, `SECRET_WIPED`.
 */
export function deriveIdentitySeeds(seed: Secret, generation: number): IdentitySeeds {
  const ed25519 = deriveEd25519(seed, identityKeyPath(generation))
  try {
    return { ed25519, mldsa: deriveEd25519(seed, identityMldsaPath(generation)) }
  } catch (error) {
    ed25519.wipe()
    throw error
  }
}
