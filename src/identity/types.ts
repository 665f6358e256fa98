import type { PublicKey, Signature } from '../core/bytes.ts'
import type { Secret } from '../core/secret.ts'
import type { PostQuantumSigner, Signer } from '../core/signer.ts'
import type { Did } from './did.ts'

/** One generation of an identity's keys (PN-6, `keys`). */
export interface KeySet {
  readonly ed25519: PublicKey
  /** ML-DSA-65, 1,952 bytes. Once an identity has shown one it never goes back. */
  readonly mldsa: Uint8Array | undefined
}

export type ChainKind = 'inception' | 'rotate' | 'recover' | 'close'
/** Why an entry was made. `compromised` ends what older keys certified at once, the others let it run out. */
export type ChainReason = 'none' | 'scheduled' | 'lost' | 'compromised'

/** Who may put the identity back into its owner's hands (PN-6, `policy`). */
export interface RecoveryPolicy {
  readonly threshold: number
  /** Attestations that outrank a competing rotation; 0 for none, otherwise above the threshold. */
  readonly override: number
  /** Seconds a recovery waits for objection, at least a day. */
  readonly delayS: number
  /** Distinct, at most 32, never the identity itself. */
  readonly trustees: readonly Did[]
}

/** A signature by a key set: Ed25519, and ML-DSA-65 where the set has it. */
export interface KeySetSignature {
  readonly ed25519: Signature
  /** 3,309 bytes. */
  readonly mldsa: Uint8Array | undefined
}

/** A trustee's word that new keys belong to the old owner. */
export interface RecoveryAttestation {
  readonly trustee: Did
  /** 16 bytes, one per recovery. */
  readonly recoveryId: Uint8Array
  readonly timeMs: number
  /** Over the fields, label `icn/recovery/v1`. */
  readonly signature: Signature
  /** Over the text form `ICN_RECOVERY_ATTESTATION:…`. */
  readonly textSignature: Signature
}

/** One entry of an identity's chain, decoded; whether it is valid is decided by `adoptChain` alone. */
export interface ChainEntry {
  readonly did: Did
  readonly index: number
  /** SHA-256 of the body before; zeros at index 0. */
  readonly previous: Uint8Array
  readonly kind: ChainKind
  readonly reason: ChainReason
  readonly timeMs: number
  readonly keys: KeySet
  /** Commitment to the next key set (`commitNext`). */
  readonly next: Uint8Array
  readonly policy: RecoveryPolicy | undefined
  /** By `keys`. */
  readonly signature: KeySetSignature
  /** By the keys before, on a scheduled rotation. */
  readonly previousSignature: KeySetSignature | undefined
  readonly attestations: readonly RecoveryAttestation[]
  /** The signed bytes, and their SHA-256, which names the entry. */
  readonly body: Uint8Array
  readonly hash: Uint8Array
}

/**
 * How far a chain can be relied on. `first-seen`: valid, but only the peer itself showed it. `anchored`: someone else, a ticket or a person vouches for
 * this head. `forked`: two contradicting valid chains exist and a person must decide; grants are suspended.
 */
export type ChainStatus = 'first-seen' | 'anchored' | 'forked'

/** Everything known and verified of one identity's chain. Immutable; `adoptChain` gives the next one. */
export interface ChainState {
  readonly did: Did
  /** Index of the last entry. */
  readonly index: number
  /** Hash of the last entry. */
  readonly head: Uint8Array
  readonly entries: readonly ChainEntry[]
  /** Keys of the last entry. */
  readonly keys: KeySet
  readonly status: ChainStatus
  /** The last entry closes the identity: nothing it certified is accepted any more. */
  readonly closed: boolean
  /** When this verifier adopted each entry, ms since the epoch. The delays of recovery count from here, never from times that others signed. */
  readonly adoptedMs: readonly number[]
  /** A complete recovery that waits for objection. */
  readonly pending: PendingRecovery | undefined
  /** Recoveries that a quorum of trustees ended: they never take effect here. */
  readonly cancelled: readonly CancelledRecovery[]
  /** Contradicting pairs, kept as proof: what stands here, and what was shown. */
  readonly forks: readonly ChainFork[]
  keysAt(index: number): KeySet | undefined
  /** Whether a key belongs to any generation of this identity (such a key is never a peer or a link of its own). */
  reveals(key: Uint8Array): boolean
}

export interface PendingRecovery {
  readonly entry: ChainEntry
  /** When this verifier first saw the complete quorum, ms since the epoch. */
  readonly sinceMs: number
  /** When it takes effect unless the owner rotates before. */
  readonly dueMs: number
  /** It carries the override quorum: no rotation stops it. */
  readonly overrides: boolean
}

/** Names a recovery that was ended before it took effect. */
export interface CancelledRecovery {
  /** Hash of the entry it would have followed. */
  readonly previous: Uint8Array
  /** 16 bytes. */
  readonly recoveryId: Uint8Array
}

export interface ChainFork {
  readonly kept: ChainEntry
  readonly other: ChainEntry
}

/** An identity's certificate for one machine (PN-4), decoded. Only `verifyBinding` says whether it is valid. */
export interface Binding {
  readonly did: Did
  readonly chainIndex: number
  /** Hash of the chain entry whose keys signed. */
  readonly chainHead: Uint8Array
  /** Rises with each binding of the same identity. */
  readonly serial: number
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly linkKey: PublicKey
  /** The machine's ML-DSA-65 key, 1,952 bytes. */
  readonly deviceMldsa: Uint8Array | undefined
  /** X-Wing public key, 1,216 bytes, for sealed messages when no prekey is at hand. */
  readonly fallbackKem: Uint8Array | undefined
  readonly capabilities: bigint
  /** What the owner calls the machine, at most 64 bytes of UTF-8. */
  readonly name: string
  readonly identitySignature: KeySetSignature
  readonly linkSignature: Signature
  readonly deviceMldsaSignature: Uint8Array | undefined
  /** The signed bytes, and the SHA-256 of body and proofs, for caches. */
  readonly body: Uint8Array
  readonly hash: Uint8Array
}

/** This machine, unlocked and able to run: everything a node needs while its identity stays locked. */
export interface Device {
  readonly did: Did
  readonly didKey: PublicKey
  /** What the owner calls the machine. */
  readonly name: string
  readonly linkSigner: Signer
  readonly mldsaSigner: PostQuantumSigner | undefined
  /** The identity's own chain. Replaced when the identity rotates. */
  readonly chain: ChainState
  /** The current binding, encoded. Replaced on renewal: read it each time. */
  readonly binding: Uint8Array
  /** When the current binding ends, ms since the epoch. */
  readonly bindingExpires: number
  /**
   * 32 bytes for one purpose of this machine, the same in every run: sealing what is secret in the store, the KEM of the binding. Never in a backup, since the
   * device's file is in none; kept when the link key is replaced. The caller wipes it. @throws KithError `SECRET_WIPED` after `close`.
   */
  deriveSecret(label: string, ...context: readonly Uint8Array[]): Secret
  /** Wipes the keys. Idempotent. */
  close(): void
}
