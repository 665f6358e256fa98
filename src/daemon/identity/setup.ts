import { hostname } from 'node:os'
import type { Clock } from '../../core/clock.ts'
import { publicKeyOfSeed } from '../../core/crypto/ed25519.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import type { Random } from '../../core/random.ts'
import type { Secret } from '../../core/secret.ts'
import { MAX_AGE_FILE_BYTES } from '../../identity/age-file.ts'
import { hasPending, isDeviceOnly } from '../../identity/device-home.ts'
import { type Did, formatDid } from '../../identity/did.ts'
import { type Home, readPrivateFile } from '../../identity/home.ts'
import { type TokenKey, wipeSeeds } from '../../identity/keys.ts'
import { createKeystore, hasIdentity, type NewIdentity } from '../../identity/keystore.ts'
import { keepStatePassphrase, type Passphrase } from '../../identity/passphrase.ts'
import type { ChainState } from '../../identity/types.ts'
import { generatePhrase, phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import { describeDevice, type IdentitySummary, saveSummary } from './describe.ts'
import { keysInToken } from './hardware.ts'
import { beyondToken } from './leave-token.ts'
import { seedsOfHead } from './own-chain.ts'
import { STORED_WORK_FACTOR } from './protection.ts'

export { STORED_WORK_FACTOR }

export const DEFAULT_PHRASE_WORDS = 24
const MAX_NAME_BYTES = 64

export interface SetUpOptions {
  readonly home: Home
  /** A person's passphrase, which stays the caller's; absent: a random one is kept outside the home. */
  readonly passphrase?: Secret
  readonly name?: string
  readonly words?: number
  /** A phrase to restore from, canonical (`parsePhrase`); stays the caller's. */
  readonly phrase?: Secret
  /** For a restore: the chain as others know it (`fetchOwnChain`), which says which keys of the phrase are the current ones. Without it the identity is used, not changed. */
  readonly chain?: ChainState
  /** For a new identity whose first key is in a token (`Tokens.ensure`); the other keys come from the phrase. */
  readonly token?: TokenKey
  readonly clock: Clock
  readonly random: Random
  readonly environment?: NodeJS.ProcessEnv
}

export interface SetUpResult {
  readonly summary: IdentitySummary
  /** What the identity can be restored from. The caller wipes it. */
  readonly phrase: Secret
}

/**
 * Makes the identity of a home from a phrase, new or given.
 * @throws KithError `IDENTITY_EXISTS`, `PHRASE_INVALID`, `PHRASE_OTHER` when it does not give the keys of the chain, `HOME_UNSAFE`, `KEYSTORE_DAMAGED` when only half of an identity is there.
 */
export async function setUpIdentity(options: SetUpOptions): Promise<SetUpResult> {
  const { home, clock, random } = options
  if (options.phrase === undefined) await mustBeFresh(home)
  const phrase = options.phrase?.clone() ?? generatePhrase(options.words ?? DEFAULT_PHRASE_WORDS, random)
  let passphrase: Passphrase | undefined
  try {
    passphrase = options.passphrase === undefined ? await keepStatePassphrase(home, random, options.environment) : undefined
    await using keystore = await createKeystore(home, {
      passphrase: options.passphrase ?? (passphrase as Passphrase).secret,
      identity: inToken(identityFrom(phrase, options.phrase !== undefined, options.chain, clock.now()), options.token),
      name: machineName(options.name),
      clock,
      random,
      ...(passphrase === undefined ? {} : { workFactor: STORED_WORK_FACTOR }),
    })
    const summary = describeDevice(keystore.device, passphrase === undefined ? 'passphrase' : 'stored')
    await saveSummary(home.paths.root, summary)
    return { summary, phrase }
  } catch (error) {
    phrase.wipe()
    throw error
  } finally {
    passphrase?.secret.wipe()
  }
}

/** Keys of a machine without their identity are what is left of a home: another identity in their place would pass for the lost one to its owner. */
async function mustBeFresh(home: Home): Promise<void> {
  if (await isDeviceOnly(home))
    throw new KithError('IDENTITY_EXISTS', 'This home belongs to a machine of an identity that is elsewhere.', { next: 'kith id show' })
  if (await hasPending(home)) {
    throw new KithError('IDENTITY_EXISTS', 'This machine has asked to belong to an identity and waits for its grant.', {
      next: 'kith id device add --grant FILE',
    })
  }
  if ((await hasIdentity(home)) || (await readPrivateFile(home.paths.device, MAX_AGE_FILE_BYTES)) === undefined) return
  throw new KithError('KEYSTORE_DAMAGED', 'the identity of this home is missing although the keys of its machine are there', {
    details: { path: home.paths.identity },
    next: 'put back identity.age from a copy, or kith init --restore',
  })
}

/** A restore that has no chain to look at may use the identity but not rotate it: it cannot know which generation is the current one. */
function identityFrom(phrase: Secret, restored: boolean, chain: ChainState | undefined, now: number): NewIdentity {
  if (chain !== undefined) return { ...currentKeys(phrase, chain, now), phrase: phrase.clone(), mayRotate: true }
  const seed = phraseToSeed(phrase)
  try {
    return { seeds: deriveIdentitySeeds(seed, 0), next: deriveIdentitySeeds(seed, 1), phrase: phrase.clone(), mayRotate: !restored }
  } finally {
    seed.wipe()
  }
}

/** The keys of the head, or those after it when the head's were in a token, of which the phrase knows nothing. */
function currentKeys(phrase: Secret, chain: ChainState, now: number): Pick<NewIdentity, 'seeds' | 'next'> & { readonly chain: ChainState } {
  try {
    return { ...seedsOfHead(phrase, chain), chain }
  } catch (error) {
    if (!isKithError(error, 'PHRASE_OTHER')) throw error
    try {
      return beyondToken(phrase, chain, now)
    } catch (failure) {
      throw isKithError(failure, 'CHAIN_INVALID') ? error : failure
    }
  }
}

function inToken(identity: NewIdentity, token: TokenKey | undefined): NewIdentity {
  return token === undefined ? identity : { ...identity, seeds: keysInToken(token, identity.seeds) }
}

/** The DID that began with a phrase: what to ask others for before a restore. */
export function didOfPhrase(phrase: Secret): Did {
  const seed = phraseToSeed(phrase)
  const seeds = deriveIdentitySeeds(seed, 0)
  seed.wipe()
  try {
    return formatDid(publicKeyOfSeed(seeds.ed25519))
  } finally {
    wipeSeeds(seeds)
  }
}

/** What peers call this machine: as given, else the first part of its host name. @throws KithError `USAGE`. */
export function machineName(given: string | undefined): string {
  const name = (given ?? hostname().split('.')[0] ?? '').trim()
  const bytes = Buffer.byteLength(name)
  const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name)
  if (given !== undefined && (bytes === 0 || bytes > MAX_NAME_BYTES || unsafe)) {
    throw new KithError('USAGE', `A name is 1 to ${MAX_NAME_BYTES} bytes without control characters.`, { next: 'kith init --help' })
  }
  return bytes === 0 || bytes > MAX_NAME_BYTES || unsafe ? 'node' : name
}
