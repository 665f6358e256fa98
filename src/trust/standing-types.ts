import type { PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Audit } from '../core/observe/audit.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import type { Conduct } from '../mesh/types.ts'
import type { StandingStatus } from './types.ts'
import type { ProofKind, StandingOverrides } from './violations.ts'

/**
 * # Standing: what this node holds against a peer (PN-10)
 *
 * ```text
 * 10000 --violation: -weight x 500--> below 5000: quarantine, the limits of strangers ---> 0: the device is banned, 1 h, doubling, at most 30 d
 *   ^                                          |                                                  | time, or the owner (unban, pardon)
 *   +---- +100 an hour, not during a ban ------+---- 6000: released <----- recovers from 0 <-------+
 * ```
 *
 * Provided: only what a device did on a link that it proved itself on, or what its own signatures prove, changes anything; nothing that others claim, replay,
 * delay or corrupt does. Bans end by themselves, survive a restart, and are lifted by the owner. Memory and disk are bounded.
 * Not provided: protection from identities that cost nothing. A stranger who is banned comes back as another stranger; the budget that all strangers share is
 * what holds then.
 */
export interface StandingComponents {
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  /** This identity: nothing is ever held against it. */
  readonly own: Did
  readonly metrics?: Metrics
  readonly audit?: Audit
  readonly rules?: StandingOverrides
  /** In the address book or trusted: never forgotten to make room for strangers. Default: nobody. */
  readonly kept?: (did: Did) => boolean
}

/** Who decides about a peer, and why. Both stand in the audit log. */
export interface Decided {
  /** `owner`, or the DID of whoever operates this node. */
  readonly actor: string
  readonly reason: string
}

/** Bytes of a proof that were verified (`evidence.ts`). */
export interface ProvedAgainst {
  readonly did: Did
  /** Absent when the identity's own keys contradict each other. */
  readonly device: PublicKey | undefined
  readonly kind: ProofKind
  readonly hash: Uint8Array
}

export interface Standing extends Conduct, AsyncDisposable {
  /** 0..10000; 10000 for everybody nothing is known of. */
  reputationOf(did: Did): number
  status(did: Did): StandingStatus
  /** Everybody something is held against, the latest first. */
  list(): readonly StandingStatus[]
  /** The bytes that showed a violation, by its place in `status(did).violations`. @throws KithError `STORE_FAILED`. */
  evidenceOf(did: Did, place: number): Promise<Uint8Array | undefined>
  /**
   * Bans one device, or the identity with all its devices, for `durationMs` (default: as the node would, at most 30 days).
   * @throws TypeError. @throws KithError `STORE_FAILED`.
   */
  ban(did: Did, by: Decided & { readonly device?: PublicKey; readonly durationMs?: number }): Promise<StandingStatus>
  /** Ends its bans, or that of one device; it goes on from 6000. @throws TypeError. @throws KithError `NOT_FOUND`, `STORE_FAILED`. */
  unban(did: Did, by: Decided & { readonly device?: PublicKey }): Promise<StandingStatus>
  /** The limits of strangers until `release`, whatever it does meanwhile. @throws as `ban`. */
  quarantine(did: Did, by: Decided): Promise<StandingStatus>
  /** Ends a quarantine; it goes on from 6000. Proofs against a device need `pardon`. @throws as `unban`. */
  release(did: Did, by: Decided): Promise<StandingStatus>
  /** Ends everything that is held against it, proofs too, and forgets its history; it goes on from 6000. @throws as `unban`. */
  pardon(did: Did, by: Decided): Promise<StandingStatus>
  /** Takes in verified evidence. True when it is the first of its kind against that device. */
  prove(proof: ProvedAgainst): boolean
  /** Whether evidence of this kind against this device was taken in before, pardoned or not. */
  proved(did: Did, device: PublicKey | undefined, kind: ProofKind): boolean
  /** The identity has revoked this device: proofs against it weigh on the identity no longer. */
  deviceRevoked(did: Did, device: PublicKey): void
  /** A person chose between two contradicting histories of this identity: that it showed both weighs on it no longer. */
  forkDecided(did: Did): void
  /** The very evidence that was proved is of a machine that a thief of replaced keys made: it weighs on the identity no longer, the key stays banned. */
  withdraw(proved: ProvedAgainst): void
  /** Changes the numbers. @throws TypeError; nothing is changed then. */
  configure(rules: StandingOverrides): void
  /** Writes what is left. @throws KithError `STORE_FAILED`. */
  close(): Promise<void>
}
