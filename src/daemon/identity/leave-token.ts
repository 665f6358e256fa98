import type { Clock } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { adoptChain } from '../../identity/chain.ts'
import { createRotation } from '../../identity/chain-make.ts'
import type { Home } from '../../identity/home.ts'
import { IdentityKeys } from '../../identity/identity-keys.ts'
import { cloneSeeds, closeKeySet, isTokenKey, type KeySeeds, openKeySet, publicKeysOf, randomKeySeeds } from '../../identity/keys.ts'
import { type KeystoreOptions, openIdentity, renewBinding } from '../../identity/keystore.ts'
import { loadDevice, makeDevice, saveIdentity } from '../../identity/keystore-save.ts'
import type { ChainState } from '../../identity/types.ts'
import { phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import type { PassphraseMode } from '../status.ts'
import { describeDevice, type IdentitySummary } from './describe.ts'

/** Keys after those in a lost token, and the chain that says so. */
interface Beyond {
  readonly seeds: KeySeeds
  readonly next: KeySeeds
  readonly chain: ChainState
}

/**
 * Reveals the committed keys with the reason `lost`, which the keys in the token need not sign. Takes ownership of both key sets.
 * @throws KithError `CHAIN_INVALID` when they are not the committed ones.
 */
function reveal(chain: ChainState, seeds: KeySeeds, next: KeySeeds, now: number): Beyond {
  const signer = openKeySet('identity', cloneSeeds(seeds))
  const policy = chain.entries.at(-1)?.policy
  try {
    const entry = createRotation({ chain, signer, reason: 'lost', next: publicKeysOf(next), now, ...(policy === undefined ? {} : { policy }) })
    return { seeds, next, chain: adoptChain(chain, [entry], { now }).state }
  } finally {
    closeKeySet(signer)
  }
}

/**
 * For a restore from the phrase when the present keys were in a token: the phrase does not give those, but the ones after them, so the identity goes on with these.
 * @throws KithError `CHAIN_INVALID` when the phrase is another one.
 */
export function beyondToken(phrase: Secret, chain: ChainState, now: number): Beyond {
  const seed = phraseToSeed(phrase)
  try {
    return reveal(chain, deriveIdentitySeeds(seed, chain.index + 1), deriveIdentitySeeds(seed, chain.index + 2), now)
  } finally {
    seed.wipe()
  }
}

/**
 * Leaves a token that is lost: the identity goes on with the next keys, which are in its file, and the machine is certified by them; one that has no keys yet, as
 * after an import, gets them. While no node runs; beside one, `rotate` with the reason `lost` does the same.
 * @throws KithError `NOT_FOUND` when no key is in a token, `TOKEN_UNAVAILABLE` when the next one is in a token too, `IDENTITY_LOCKED`.
 */
export async function leaveToken(
  home: Home,
  options: KeystoreOptions & { readonly clock: Clock; readonly random: Random; readonly mode: PassphraseMode; readonly name: string },
): Promise<IdentitySummary> {
  using identity = await openIdentity(home, options)
  if (!identity.hardware) throw new KithError('NOT_FOUND', 'The key that signs is in the key file already.', { next: 'kith id show' })
  if (!identity.mayRotate) throw new KithError('IDENTITY_LOCKED', 'This machine does not change the keys of the identity.', { next: 'kith id rotation take' })
  const { content } = identity
  if (isTokenKey(content.next.ed25519)) {
    throw new KithError('TOKEN_UNAVAILABLE', 'the next key is in a token too', {
      details: { uri: content.next.ed25519.uri },
      next: 'kith id rotate --reason lost (with that token)',
    })
  }
  const { seeds, next, chain } = reveal(identity.chain, cloneSeeds(content.next), after(content, options.random), options.clock.now())
  using left = new IdentityKeys({ ...content, seeds, next, chain, generation: chain.index, phrase: content.phrase?.clone() })
  await saveIdentity(home, left.content, options)
  using device = (await loadDevice(home, options)) ?? (await makeDevice(home, left, options))
  await renewBinding(home, device, left, options)
  return describeDevice(device, options.mode)
}

function after({ phrase, generation }: { readonly phrase: Secret | undefined; readonly generation: number }, random: Random): KeySeeds {
  if (phrase === undefined) return randomKeySeeds(random)
  const seed = phraseToSeed(phrase)
  try {
    return deriveIdentitySeeds(seed, generation + 2)
  } finally {
    seed.wipe()
  }
}
