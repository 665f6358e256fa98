import { equal } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { createSigner, randomSeed } from '../../core/crypto/ed25519.ts'
import { KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { adoptChain } from '../../identity/chain.ts'
import type { Did } from '../../identity/did.ts'
import { IdentityKeys } from '../../identity/identity-keys.ts'
import { cloneSeeds, commitNext, type KeySeeds, publicKeysOf, wipeSeeds } from '../../identity/keys.ts'
import { renewBinding } from '../../identity/keystore.ts'
import { saveIdentity } from '../../identity/keystore-save.ts'
import type { ChainEntry, ChainState, KeySet } from '../../identity/types.ts'
import { fetchChainFrom } from '../../mesh/fetch-chain.ts'
import { createTcpTransport } from '../../transport/tcp.ts'
import { phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import type { OpenedIdentity } from './service.ts'

/**
 * # The own chain, learned from others
 *
 * A phrase gives every generation of an identity's keys; which one is the current one stands in the chain alone. So whoever restores asks for the chain first and
 * takes the keys of its head. A machine that never asked, or asked long ago, may use the identity; it may not change it, because it would contradict what
 * another machine did meanwhile.
 */
export interface FetchOwnChain {
  readonly did: Did
  /** Addresses of machines of this identity, as `tcp://HOST:PORT`. */
  readonly urls: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly signal?: AbortSignal
}

/** Asks machines of the identity, which need not know who asks. @throws KithError `PEER_UNREACHABLE`, `CHAIN_FORKED`, `ABORTED`. */
export async function fetchOwnChain({ did, urls, clock, random, signal }: FetchOwnChain): Promise<ChainState> {
  // Asking is no link: the key is never shown.
  const signer = createSigner('link', randomSeed(random))
  try {
    const transports = [createTcpTransport({ signer, clock, random })]
    return (await fetchChainFrom({ did, urls, transports, clock, random, ...(signal === undefined ? {} : { signal }) })).chain
  } finally {
    signer.close()
  }
}

/** The keys of a chain's head and those it commits to, from the phrase. The caller wipes them. @throws KithError `PHRASE_OTHER`. */
export function seedsOfHead(phrase: Secret, chain: ChainState): { readonly seeds: KeySeeds; readonly next: KeySeeds } {
  const seed = phraseToSeed(phrase)
  try {
    const { next } = chain.entries[chain.index] as ChainEntry
    const seeds = matching(seed, chain.index, (keys) => sameKeys(keys, chain.keys))
    try {
      return { seeds, next: matching(seed, chain.index + 1, (keys) => equal(commitNext(keys), next)) }
    } catch (error) {
      wipeSeeds(seeds)
      throw error
    }
  } finally {
    seed.wipe()
  }
}

/** A generation from before the identity had a post-quantum key is its first half alone. */
function matching(seed: Secret, generation: number, fits: (keys: KeySet) => boolean): KeySeeds {
  const both = deriveIdentitySeeds(seed, generation)
  if (fits(publicKeysOf(both))) return both
  const first = { ed25519: both.ed25519, mldsa: undefined }
  if (fits(publicKeysOf(first))) {
    both.mldsa.wipe()
    return first
  }
  wipeSeeds(both)
  throw new KithError('PHRASE_OTHER', undefined, {
    details: { generation },
    next: 'the phrase of the newest keys; where nobody has it, recovery by trustees: kith recovery --help',
  })
}

function sameKeys(a: KeySet, b: KeySet): boolean {
  return equal(a.ed25519, b.ed25519) && (a.mldsa === undefined || b.mldsa === undefined ? a.mldsa === b.mldsa : equal(a.mldsa, b.mldsa))
}

/**
 * Makes this machine one that may change the identity's keys, once others have shown the whole chain: its head's keys are taken from the phrase when they are not
 * those at hand. Saved before it counts; the machine is certified by the current keys. `identity` stays the caller's and is as it was.
 * @param shown the chain as others know it.
 * @throws KithError `CHAIN_FORKED` when it contradicts what is known here, `PHRASE_OTHER` when the phrase does not give its keys, `IDENTITY_LOCKED` when there is
 * no phrase to take newer keys from.
 */
export async function takeRotation({ home, device, identity, options }: OpenedIdentity, shown: ChainState): Promise<void> {
  const now = (options.clock as Clock).now()
  const { state, outcome } = adoptChain(identity.chain, shown.entries, { now, did: identity.did })
  if (outcome === 'forked') throw new KithError('CHAIN_FORKED', undefined, { details: { did: identity.did, index: state.index } })
  const keys = keysOfHead(identity, state)
  const phrase = identity.phrase()
  const content = { ...identity.content, ...keys, ...(phrase === undefined ? {} : { phrase }), chain: state, generation: state.index, mayRotate: true }
  using current = new IdentityKeys(content, options.tokens ?? home.tokens?.open)
  await saveIdentity(home, current.content, options)
  await renewBinding(home, device, current, options)
}

/** Leaves changes of the keys to another machine. */
export async function giveRotation({ home, identity, options }: OpenedIdentity): Promise<void> {
  await saveIdentity(home, { ...identity.content, mayRotate: false }, options)
}

/** The caller wipes them. */
function keysOfHead(identity: IdentityKeys, chain: ChainState): { readonly seeds: KeySeeds; readonly next: KeySeeds } {
  const { content } = identity
  if (sameKeys(publicKeysOf(content.seeds), chain.keys)) return { seeds: cloneSeeds(content.seeds), next: cloneSeeds(content.next) }
  const phrase = identity.phrase()
  if (phrase === undefined) {
    throw new KithError('IDENTITY_LOCKED', 'The keys of this machine were replaced on another one, and there is no phrase to take the new ones from.', {
      details: { generation: content.generation, head: chain.index },
      next: 'kith id import FILE (after kith id export FILE on the machine that rotated)',
    })
  }
  try {
    return seedsOfHead(phrase, chain)
  } finally {
    phrase.wipe()
  }
}
