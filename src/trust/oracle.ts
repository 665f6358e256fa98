import { isForeignPrincipal } from '../access/principal.ts'
import { Lru } from '../core/lru.ts'
import type { Did } from '../identity/did.ts'
import { CLASS_SCORE } from '../mesh/constraints.ts'
import type { BucketConstraint, ClassLimits, Conduct, ConstraintSet, Decision, PeerClass, Policy, PolicyRequest } from '../mesh/types.ts'
import { classOfScore } from './score.ts'
import type { Standing } from './standing-types.ts'
import { FULL_REPUTATION } from './violations.ts'

/**
 * # The oracle: from trust and conduct to plain limits
 *
 * ```text
 * standing = trust score (PN-11) x reputation / 10000 --> class (1000, 4000, 7000, each from its boundary up) --> limits of the table
 *                                                            in quarantine, or proved against: isolated
 * ```
 *
 * It is asked behind bans, the owner's rules and whoever provides an action. `link` it decides by the least standing that the owner asks of strangers
 * (`minScore`, default 0); from everything else it abstains: trust opens nothing by itself, it only says how much of what is open a peer may have.
 *
 * What enforces the limits never sees trust: only classes, numbers, and whose budget is charged.
 */
export interface OracleComponents {
  /** Scores that answer from memory. */
  readonly trust: {
    score(did: Did): number
    /** Through whom a peer is known that has no direct edge. */
    bucketOf(did: Did): Did | undefined
    /** Tells whose score may have changed. */
    onChange?(listener: (targets: readonly Did[]) => void): () => void
  }
  readonly standing: Pick<Standing, 'reputationOf'> & Pick<Conduct, 'isolated'>
  /** The limits of each class as they are configured now; a new object when they have changed. */
  readonly limits: () => Readonly<Record<PeerClass, ClassLimits>>
  /** Least standing of a peer that may link here, 0..10000. Default 0. */
  readonly minScore?: () => number
}

/** Kept for so many peers and introducers. */
const CACHED = 16_384
/** All peers behind one introducer together: ten times the rate of one Known peer, and 16 links (PN-11). */
const SHARED_RATE = 10
const SHARED_LINKS = 16

interface LinkDecision {
  readonly score: number
  readonly min: number
  readonly decision: Decision
}

export class TrustOracle implements Policy {
  readonly #components: OracleComponents
  readonly #links: Lru<Did, LinkDecision> = new Lru(CACHED)
  readonly #abstained: Map<string, Decision> = new Map()
  /** Limits with a bucket, by class and introducer; of the table that they were made from. */
  #table: Readonly<Record<PeerClass, ClassLimits>> | undefined
  #shared: Lru<string, ConstraintSet> = new Lru(CACHED)
  #buckets: Lru<Did, BucketConstraint> = new Lru(CACHED)

  constructor(components: OracleComponents) {
    this.#components = components
  }

  decide({ peer, action }: PolicyRequest): Decision {
    if (action !== 'link' || isForeignPrincipal(peer)) return this.#abstain(action)
    const min = this.#components.minScore?.() ?? 0
    const score = this.scoreOf(peer)
    const known = this.#links.get(peer)
    if (known?.score === score && known.min === min) return known.decision
    const allowed = score >= min
    const rule = `link asks for a standing of ${min} (min_trust_threshold) and this peer has ${score}`
    const decision: Decision = { allowed, rule: min === 0 ? 'link is open to everybody' : rule, next: `kith ${allowed ? 'deny' : 'allow'} ${peer} link` }
    this.#links.set(peer, { score, min, decision })
    return decision
  }

  scoreOf(peer: Did): number {
    const { trust, standing } = this.#components
    const score = trust.score(peer)
    const reputation = standing.reputationOf(peer)
    const scaled = reputation === FULL_REPUTATION ? score : Math.floor((score * reputation) / FULL_REPUTATION)
    return standing.isolated(peer) ? Math.min(scaled, CLASS_SCORE.known - 1) : scaled
  }

  classOf(peer: Did): PeerClass {
    return classOfScore(this.scoreOf(peer))
  }

  constraints(peer: Did): ConstraintSet {
    const table = this.#components.limits()
    if (table !== this.#table) {
      this.#table = table
      this.#shared = new Lru(CACHED)
      this.#buckets = new Lru(CACHED)
    }
    const held = this.classOf(peer)
    // Strangers share one budget already, whoever speaks for them.
    const introducer = held === 'isolated' ? undefined : this.#components.trust.bucketOf(peer)
    return introducer === undefined ? table[held] : this.#sharedLimits(table, held, introducer)
  }

  onChange(listener: (peers?: readonly Did[]) => void): () => void {
    return this.#components.trust.onChange?.(listener) ?? (() => undefined)
  }

  #sharedLimits(table: Readonly<Record<PeerClass, ClassLimits>>, held: PeerClass, introducer: Did): ConstraintSet {
    const key = `${held} ${introducer}`
    const known = this.#shared.get(key)
    if (known !== undefined) return known
    const { messagesPerSecond, burst } = table.known
    const bucket = this.#buckets.get(introducer) ?? {
      key: introducer,
      messagesPerSecond: SHARED_RATE * messagesPerSecond,
      burst: SHARED_RATE * burst,
      links: SHARED_LINKS,
    }
    this.#buckets.set(introducer, bucket)
    const limits = { ...table[held], bucket }
    this.#shared.set(key, limits)
    return limits
  }

  #abstain(action: string): Decision {
    const known = this.#abstained.get(action)
    if (known !== undefined) return known
    const decision: Decision = { allowed: false, abstains: true, rule: `trust decides nothing about ${action.slice(0, 32)}`, next: 'kith policy list' }
    if (this.#abstained.size < 64) this.#abstained.set(action, decision)
    return decision
  }
}
