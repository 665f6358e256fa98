/** A chain of keys, verified from its bytes, beside the signatures in it alone. */
import { createHash } from 'node:crypto'
import { type HybridSigner, verifyHybrid } from '../src/core/crypto/hybrid.ts'
import { labeled } from '../src/core/crypto/labels.ts'
import { Secret } from '../src/core/secret.ts'
import { adoptChain } from '../src/identity/chain.ts'
import { CHAIN_LABEL, decodeChain, encodeChain } from '../src/identity/chain-codec.ts'
import { createInception, createRotation } from '../src/identity/chain-make.ts'
import { keysOfSigner, openKeySet } from '../src/identity/keys.ts'
import type { ChainEntry } from '../src/identity/types.ts'
import type { BenchRow, BenchSample } from './harness.ts'
import { byTurns, timed } from './support/turns.ts'

const NOW = 1_800_000_000_000

function secretOf(text: string): Secret {
  return Secret.take(createHash('sha256').update(text).digest())
}

/** `rotations` scheduled ones: each is signed by two generations. */
function chainOf(rotations: number, mldsa: boolean): Uint8Array {
  const keys = (generation: number): HybridSigner =>
    openKeySet('identity', { ed25519: secretOf(`bench chain ${generation}`), mldsa: mldsa ? secretOf(`bench chain mldsa ${generation}`) : undefined })
  let [current, next] = [keys(0), keys(1)]
  let { state } = adoptChain(undefined, [createInception({ signer: current, next: keysOfSigner(next), now: NOW })], { now: NOW })
  for (let at = 1; at <= rotations; at++) {
    const after = keys(at + 1)
    const entry = createRotation({ chain: state, signer: next, previous: current, reason: 'scheduled', next: keysOfSigner(after), now: NOW + at })
    state = adoptChain(state, [entry], { now: NOW + at }).state
    current = next
    next = after
  }
  return encodeChain(state.entries)
}

/** The verifications that a chain cannot do without, and nothing else. */
function verifyAll(entries: readonly ChainEntry[]): void {
  for (const [at, entry] of entries.entries()) {
    const message = labeled(CHAIN_LABEL, entry.body)
    if (!verifyHybrid(entry.keys, message, entry.signature)) throw new Error('a signature does not verify')
    const { previousSignature } = entry
    if (previousSignature !== undefined && !verifyHybrid((entries[at - 1] as ChainEntry).keys, message, previousSignature)) {
      throw new Error('a signature does not verify')
    }
  }
}

const chains = new Map<string, Uint8Array>()

function verified(rotations: number, mldsa: boolean): Promise<BenchSample> {
  const name = `${rotations} ${mldsa}`
  const encoded = chains.get(name) ?? chainOf(rotations, mldsa)
  chains.set(name, encoded)
  const entries = decodeChain(encoded)
  const ours = (): number =>
    timed(() => {
      const { state } = adoptChain(undefined, decodeChain(encoded), { now: NOW + rotations })
      if (state.index !== rotations) throw new Error('the chain was not adopted')
    })
  return byTurns(2, rotations, ours, () => timed(() => verifyAll(entries)))
}

export const rows: readonly BenchRow[] = [
  {
    name: 'chain of 1,000 entries, Ed25519, decoded and verified',
    unit: 'entry/s',
    peer: 'its 1,999 signatures alone',
    better: 'higher',
    goal: 0.8,
    measure: ({ quick }) => verified(quick ? 199 : 999, false),
  },
  {
    name: 'chain of 400 rotations, Ed25519 and ML-DSA-65, decoded and verified',
    unit: 'entry/s',
    peer: 'its 1,602 signatures alone',
    better: 'higher',
    goal: 0.8,
    measure: ({ quick }) => verified(quick ? 40 : 400, true),
  },
]
