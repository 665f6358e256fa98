import type { Recoveries } from '../../assembly/types.ts'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { recoveryPolicyOf } from '../../identity/chain-recovery.ts'
import type { Did } from '../../identity/did.ts'
import { closeKeySet, openKeySet, publicKeysOf, wipeSeeds } from '../../identity/keys.ts'
import type { ChainEntry, ChainState, RecoveryPolicy } from '../../identity/types.ts'
import { createRequest } from '../../recovery/request.ts'
import type { RecoveryStatus } from '../../recovery/types.ts'
import { generatePhrase, phraseToSeed } from '../../vault/bip39.ts'
import { deriveIdentitySeeds } from '../../vault/identity-seeds.ts'
import type { OpenedIdentity } from '../identity/service.ts'
import { DEFAULT_PHRASE_WORDS } from '../identity/setup.ts'
import { loadRecoveryKeys, type RecoveryKeys, saveRecoveryKeys } from './key-file.ts'

/**
 * Asks the trustees of a lost identity for new keys. The keys come from a new phrase, which is in `recovery.age` before anybody hears of them; asked again it is the
 * same phrase, and, while that one lives, the same request.
 * @throws KithError `RECOVERY_CHAIN` when no linked peer shows the history, `RECOVERY_NO_POLICY`, `RECOVERY_CONFLICT` when this home recovers another identity.
 */
export async function initiateRecovery({ home, identity, options }: OpenedIdentity, recovery: Recoveries, did: Did): Promise<RecoveryStatus> {
  if (identity.did === did) throw new KithError('USAGE', 'This home has the keys of that identity: there is nothing to recover.', { next: 'kith id show' })
  const chain = await recovery.learnHistory(did)
  const now = (options.clock as { now(): number }).now()
  const policy = recoveryPolicyOf(chain, now)
  if (chain.closed) throw new KithError('RECOVERY_OVER', 'The owner has closed that identity for good.', { details: { did } })
  if (policy === undefined)
    throw new KithError('RECOVERY_NO_POLICY', undefined, { details: { did }, next: 'kith init --restore (with the phrase of that identity)' })
  const kept = await loadRecoveryKeys(home, options.passphrase)
  const keys: RecoveryKeys = kept ?? { did, phrase: generatePhrase(DEFAULT_PHRASE_WORDS, options.random) }
  try {
    if (keys.did !== did) {
      throw new KithError('RECOVERY_CONFLICT', `This home already recovers ${keys.did}.`, {
        details: { did: keys.did },
        next: 'kith recovery initiate DID --home DIR (another directory)',
      })
    }
    const [live] = (await recovery.desk.list()).filter(
      ({ role, stage, did: of }) => role === 'requester' && of === did && (stage === 'collecting' || stage === 'waiting'),
    )
    if (live !== undefined) return live
    if (kept === undefined) await saveRecoveryKeys(home, keys, options)
    const status = await recovery.desk.request(requestOf(keys.phrase, chain, policy, now))
    await recovery.tell()
    return status
  } finally {
    keys.phrase.wipe()
  }
}

function requestOf(phrase: Secret, chain: ChainState, policy: RecoveryPolicy, now: number): ChainEntry {
  using seed = phraseToSeed(phrase)
  const next = deriveIdentitySeeds(seed, chain.index + 2)
  const signer = openKeySet('identity', deriveIdentitySeeds(seed, chain.index + 1))
  try {
    return createRequest({ chain, signer, next: publicKeysOf(next), policy, now })
  } finally {
    closeKeySet(signer)
    wipeSeeds(next)
  }
}
