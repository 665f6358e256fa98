import { type HybridSigner, signHybrid } from '../core/crypto/hybrid.ts'
import { labeled } from '../core/crypto/labels.ts'
import { assembleEntry, CHAIN_LABEL, type ChainBody, encodeBody } from './chain-codec.ts'
import { formatDid } from './did.ts'
import { commitNext, keysOfSigner } from './keys.ts'
import type { ChainEntry, ChainReason, ChainState, KeySet, RecoveryAttestation, RecoveryPolicy } from './types.ts'

export interface InceptionOptions {
  /** Generation 0; its Ed25519 key becomes the DID. Opened for the role `identity`. */
  readonly signer: HybridSigner
  /** Generation 1: only its hash is published. */
  readonly next: KeySet
  readonly policy?: RecoveryPolicy
  /** Wall clock, ms since the epoch. */
  readonly now: number
}

/** Entry 0. The commitment to the next keys is in it from the first day. */
export function createInception(options: InceptionOptions): ChainEntry {
  const keys = keysOfSigner(options.signer)
  return sign(
    {
      did: formatDid(keys.ed25519),
      index: 0,
      previous: new Uint8Array(32),
      kind: 'inception',
      reason: 'none',
      timeMs: options.now,
      keys,
      next: commitNext(options.next),
      policy: options.policy,
    },
    options.signer,
  )
}

export interface RotationOptions {
  readonly chain: ChainState
  /** The generation the head committed to. */
  readonly signer: HybridSigner
  readonly reason: Exclude<ChainReason, 'none'>
  /** The generation of the head; needed when the reason is `scheduled`. */
  readonly previous?: HybridSigner
  /** The generation after. */
  readonly next: KeySet
  /** In force from then on; absent means none. State the present one to keep it. */
  readonly policy?: RecoveryPolicy
  readonly now: number
  /** `close` ends the identity for good. Default `rotate`. */
  readonly kind?: 'rotate' | 'close'
}

/** The next entry, opening the commitment. Whether it is valid is decided by `adoptChain`, here as everywhere. @throws TypeError. */
export function createRotation(options: RotationOptions): ChainEntry {
  const { chain, reason, previous } = options
  if ((reason === 'scheduled') !== (previous !== undefined)) throw new TypeError('exactly a scheduled change is signed by the previous keys')
  return sign({ ...following(chain, options), kind: options.kind ?? 'rotate', reason }, options.signer, { previous })
}

export interface RecoveryOptions {
  readonly chain: ChainState
  /** Fresh keys of the owner. */
  readonly signer: HybridSigner
  readonly reason: 'lost' | 'compromised'
  readonly next: KeySet
  /** The policy in force, which a recovery cannot change. */
  readonly policy: RecoveryPolicy
  readonly attestations: readonly RecoveryAttestation[]
  readonly now: number
}

export function createRecovery(options: RecoveryOptions): ChainEntry {
  return sign({ ...following(options.chain, options), kind: 'recover', reason: options.reason }, options.signer, { attestations: options.attestations })
}

function following(
  chain: ChainState,
  options: { signer: HybridSigner; next: KeySet; policy?: RecoveryPolicy; now: number },
): Omit<ChainBody, 'kind' | 'reason'> {
  const head = chain.entries[chain.index] as ChainEntry
  return {
    did: chain.did,
    index: chain.index + 1,
    previous: chain.head,
    timeMs: Math.max(options.now, head.timeMs),
    keys: keysOfSigner(options.signer),
    next: commitNext(options.next),
    policy: options.policy,
  }
}

function sign(
  body: ChainBody,
  signer: HybridSigner,
  more: { previous?: HybridSigner | undefined; attestations?: readonly RecoveryAttestation[] } = {},
): ChainEntry {
  const encoded = encodeBody(body)
  const message = labeled(CHAIN_LABEL, encoded)
  return assembleEntry(encoded, body, {
    signature: signHybrid(signer, message),
    previousSignature: more.previous === undefined ? undefined : signHybrid(more.previous, message),
    attestations: more.attestations ?? [],
  })
}
