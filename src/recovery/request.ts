import { scryptSync } from 'node:crypto'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { hashLabeled, labeled } from '../core/crypto/labels.ts'
import { createRecovery } from '../identity/chain-make.ts'
import type { ChainEntry, ChainState, KeySet, RecoveryPolicy } from '../identity/types.ts'
import { fourWords } from '../mesh/words.ts'

/**
 * # A request to be recovered
 *
 * It is the chain entry of kind `recover` itself, signed by the new keys, without attestations yet: whoever has gathered enough of them can complete it, and nobody
 * can change it.
 *
 * ```text
 * recovery_id = H("icn/recovery-id/v1", entry body)[0..16]                          so that an attestation is for this entry and no other
 * words       = first 44 bits of scrypt(entry hash, salt L("icn/recovery-words/v1") || recovery_id, N 2^15, r 8, p 1) as four BIP39 words
 * ```
 *
 * The words are slow to compute, since whoever sees a request could otherwise look for another one, of his own keys, with the same words.
 */
const ID_BYTES = 16
const WORDS_COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 } as const

export interface RequestOptions {
  /** Of the lost identity, as it is known here. */
  readonly chain: ChainState
  /** Fresh keys, for the role `identity`. */
  readonly signer: HybridSigner
  /** The generation after them. */
  readonly next: KeySet
  /** In force behind the head of the chain (`recoveryPolicyOf`). */
  readonly policy: RecoveryPolicy
  readonly now: number
}

/** The reason is always `compromised`: nobody knows into whose hands lost keys came, so that everything they certified ends. */
export function createRequest(options: RequestOptions): ChainEntry {
  return createRecovery({ ...options, reason: 'compromised', attestations: [] })
}

/** 16 bytes. */
export function recoveryIdOf(entry: Pick<ChainEntry, 'body'>): Uint8Array {
  return hashLabeled('icn/recovery-id/v1', entry.body).subarray(0, ID_BYTES)
}

const words: WeakMap<Uint8Array, string> = new WeakMap()

/** Four words that the person reads to each trustee by voice. Takes about a tenth of a second the first time. */
export function recoveryWords(entry: Pick<ChainEntry, 'body' | 'hash'>): string {
  const known = words.get(entry.hash)
  if (known !== undefined) return known
  const made = fourWords(scryptSync(entry.hash, labeled('icn/recovery-words/v1', recoveryIdOf(entry)), 32, WORDS_COST))
  words.set(entry.hash, made)
  return made
}
