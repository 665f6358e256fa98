import { createHash } from 'node:crypto'
import type { HybridSigner } from '../../src/core/crypto/hybrid.ts'
import { Secret } from '../../src/core/secret.ts'
import { adoptChain } from '../../src/identity/chain.ts'
import { createInception, createRotation } from '../../src/identity/chain-make.ts'
import { openKeySet, publicKeysOf, type SoftwareSeeds } from '../../src/identity/keys.ts'
import type { ChainEntry, ChainReason, ChainState, KeySet, RecoveryPolicy } from '../../src/identity/types.ts'

/** 2026-01-01, the time all of these begin at. */
export const T0 = 1_767_225_600_000
export const DAY = 86_400_000

/** Seeds that are the same in every run. */
export function seedsOf(name: string, mldsa = true): SoftwareSeeds {
  const seed = (kind: string): Secret => Secret.take(createHash('sha256').update(`${kind} ${name}`).digest())
  return { ed25519: seed('ed25519'), mldsa: mldsa ? seed('mldsa') : undefined }
}

export const signerOf = (name: string, mldsa = true): HybridSigner => openKeySet('identity', seedsOf(name, mldsa))
export const deviceOf = (name: string, mldsa = true): HybridSigner => openKeySet('link', seedsOf(`device ${name}`, mldsa))
export const keysOf = (name: string, mldsa = true): KeySet => publicKeysOf(seedsOf(name, mldsa))

export interface Person {
  readonly name: string
  readonly mldsa: boolean
  chain: ChainState
  generation: number
}

/** An identity whose generations are `name 0`, `name 1`, ... */
export function person(name: string, options: { mldsa?: boolean; policy?: RecoveryPolicy; now?: number } = {}): Person {
  const mldsa = options.mldsa ?? false
  const entry = inception(name, options)
  return { name, mldsa, chain: adoptChain(undefined, [entry], { now: options.now ?? T0 }).state, generation: 0 }
}

export function inception(name: string, options: { mldsa?: boolean; policy?: RecoveryPolicy; now?: number } = {}): ChainEntry {
  const mldsa = options.mldsa ?? false
  return createInception({
    signer: signerOf(`${name} 0`, mldsa),
    next: keysOf(`${name} 1`, mldsa),
    now: options.now ?? T0,
    ...(options.policy === undefined ? {} : { policy: options.policy }),
  })
}

/** The next entry of a person, not adopted. `after` names other keys than the usual ones to promise. */
export function rotation(
  who: Person,
  reason: Exclude<ChainReason, 'none'>,
  options: { now?: number; policy?: RecoveryPolicy; after?: string; kind?: 'rotate' | 'close'; mldsa?: boolean } = {},
): ChainEntry {
  const next = who.generation + 1
  const mldsa = options.mldsa ?? who.mldsa
  return createRotation({
    chain: who.chain,
    signer: signerOf(`${who.name} ${next}`, mldsa),
    reason,
    next: keysOf(options.after ?? `${who.name} ${next + 1}`, mldsa),
    now: options.now ?? T0 + DAY,
    kind: options.kind ?? 'rotate',
    ...(reason === 'scheduled' ? { previous: signerOf(`${who.name} ${who.generation}`, who.mldsa) } : {}),
    ...(options.policy === undefined ? {} : { policy: options.policy }),
  })
}

export function rotate(who: Person, reason: Exclude<ChainReason, 'none'>, options: { now?: number; policy?: RecoveryPolicy } = {}): ChainEntry {
  const entry = rotation(who, reason, options)
  who.chain = adoptChain(who.chain, [entry], { now: options.now ?? T0 + DAY }).state
  who.generation++
  return entry
}

/** The reason a check gives, for `assert.throws`. */
export function failing(code: string, reason: RegExp): (error: unknown) => boolean {
  return (error) => {
    const { code: actual, details } = error as { code: string; details: { reason?: string } }
    if (actual !== code || !reason.test(details.reason ?? '')) throw error
    return true
  }
}
