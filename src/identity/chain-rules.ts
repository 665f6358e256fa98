import { equal } from '../core/bytes.ts'
import { verifyHybrid } from '../core/crypto/hybrid.ts'
import { labeled } from '../core/crypto/labels.ts'
import { CHAIN_LABEL, invalidChain } from './chain-codec.ts'
import { didPublicKey } from './did.ts'
import { commitNext } from './keys.ts'
import type { ChainEntry, KeySet, KeySetSignature, RecoveryPolicy } from './types.ts'

/** How far ahead of the own clock an entry may be dated. */
export const MAX_FUTURE_MS: number = 24 * 60 * 60 * 1000
/** The shortest time a recovery waits for objection. */
export const MIN_DELAY_S = 86_400
const ZEROS = new Uint8Array(32)

/**
 * The rules of PN-6 for an entry by itself and behind the one before; a recovery's attestations are judged in `chain-recovery.ts`.
 * @throws KithError `CHAIN_INVALID`.
 */
export function checkEntry(previous: ChainEntry | undefined, entry: ChainEntry, nowMs: number): void {
  if (entry.timeMs > nowMs + MAX_FUTURE_MS) throw invalidChain('an entry is dated more than 24 h ahead')
  if (entry.policy !== undefined) checkPolicy(entry, entry.policy)
  if (!signed(entry.keys, entry, entry.signature)) throw invalidChain(`entry ${entry.index} is not signed by its own keys`)
  if (entry.kind !== 'recover' && entry.attestations.length > 0) throw invalidChain('only a recovery carries attestations')
  if (previous === undefined) checkInception(entry)
  else checkSuccessor(previous, entry)
}

function checkInception(entry: ChainEntry): void {
  if (entry.kind !== 'inception' || entry.index !== 0) throw invalidChain('it does not begin with an inception at index 0')
  if (!equal(entry.keys.ed25519, didPublicKey(entry.did))) throw invalidChain('the inception has another key than the DID')
  if (!equal(entry.previous, ZEROS)) throw invalidChain('the inception names an entry before it')
  if (entry.reason !== 'none' || entry.previousSignature !== undefined) throw invalidChain('the inception has a reason or an older signature')
}

function checkSuccessor(previous: ChainEntry, entry: ChainEntry): void {
  if (previous.kind === 'close') throw invalidChain('an entry follows the closing one')
  if (entry.did !== previous.did) throw invalidChain('an entry is of another DID')
  if (entry.index !== previous.index + 1) throw invalidChain('an index is missing')
  if (!equal(entry.previous, previous.hash)) throw invalidChain(`entry ${entry.index} does not follow the one before`)
  if (entry.timeMs < previous.timeMs) throw invalidChain('time runs backwards')
  if (entry.reason === 'none') throw invalidChain(`entry ${entry.index} gives no reason`)
  if (previous.keys.mldsa !== undefined && entry.keys.mldsa === undefined) throw invalidChain('the post-quantum key was dropped')
  if (entry.kind === 'inception') throw invalidChain('a second inception')
  if (entry.kind === 'recover') {
    if (entry.previousSignature !== undefined) throw invalidChain('a recovery is not signed by the previous keys')
    return
  }
  if (!equal(commitNext(entry.keys), previous.next)) throw invalidChain(`entry ${entry.index} has other keys than were committed to`)
  const scheduled = entry.reason === 'scheduled'
  if (scheduled !== (entry.previousSignature !== undefined)) throw invalidChain('exactly a scheduled change is signed by the previous keys')
  if (entry.previousSignature !== undefined && !signed(previous.keys, entry, entry.previousSignature)) {
    throw invalidChain(`entry ${entry.index} is not signed by the previous keys`)
  }
}

function checkPolicy(entry: ChainEntry, policy: RecoveryPolicy): void {
  const { threshold, override, delayS, trustees } = policy
  if (new Set(trustees).size !== trustees.length) throw invalidChain('a trustee is named twice')
  if (trustees.includes(entry.did)) throw invalidChain('the identity is its own trustee')
  if (threshold < 1 || threshold > trustees.length) throw invalidChain('the recovery threshold cannot be met')
  if (override !== 0 && (override <= threshold || override > trustees.length)) throw invalidChain('the recovery override is not above the threshold')
  if (delayS < MIN_DELAY_S) throw invalidChain('the recovery delay is shorter than a day')
}

function signed(keys: KeySet, entry: ChainEntry, signature: KeySetSignature): boolean {
  return verifyHybrid(keys, labeled(CHAIN_LABEL, entry.body), signature)
}
