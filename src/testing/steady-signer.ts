import { createHash } from 'node:crypto'
import type { HybridSigner } from '../core/crypto/hybrid.ts'
import { Lru } from '../core/lru.ts'

/** ML-DSA-65 of FIPS 204 in its deterministic form, pure mode, empty context: the same signature each time. */
export type SignMldsa = (seed: Uint8Array, message: Uint8Array) => Uint8Array

/** What was signed in this process, so that a second run signs it the same. */
const signed: Lru<string, Uint8Array> = new Lru(20_000)

/** What every node signs few of and all nodes pass on: chains, bindings, prekeys. */
const PAPERS: ReadonlySet<string> = new Set(['icn/chain/v1', 'icn/binding/v1', 'icn/prekey/v1'])
/** Proofs of one link, which nobody passes on. */
const GREETING = 'icn/hello-'

/**
 * Signs the same way each time. Signatures stand inside gossip entries (chains, bindings, prekeys, evidence), whose ids, and with them the order in which entries
 * travel, follow from their bytes; and the ML-DSA of node:crypto is randomised. So each is made once in a process, and papers, with `signMldsa`, the same in every one.
 */
export function steadySigner(keys: HybridSigner, seed: Uint8Array, signMldsa: SignMldsa | undefined): HybridSigner {
  const { ed25519, mldsa } = keys
  if (mldsa === undefined) return keys
  const sign = (message: Uint8Array): Uint8Array => {
    const label = labelOf(message)
    if (label.startsWith(GREETING)) return mldsa.sign(message)
    const key = createHash('sha256').update(seed).update(message).digest('base64')
    const signature = signed.get(key) ?? (PAPERS.has(label) ? signMldsa?.(seed, message) : undefined) ?? mldsa.sign(message)
    signed.set(key, signature)
    return signature
  }
  return { ed25519, mldsa: { role: mldsa.role, publicKey: mldsa.publicKey, sign, close: () => mldsa.close() } }
}

/** Everything native is signed behind the length of a label and the label. */
function labelOf(message: Uint8Array): string {
  return Buffer.from(message.subarray(1, 1 + (message[0] ?? 0))).toString('latin1')
}
