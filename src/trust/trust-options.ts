import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import type { DeviceDirectory } from '../mesh/messages/types.ts'
import type { EvidenceContext } from './edge-evidence.ts'
import type { EdgeLimits } from './edge-graph.ts'
import { checkWeights, type ScoreWeights } from './score.ts'
import type { GraphKind } from './types.ts'

export interface TrustComponents {
  /** This identity. */
  readonly did: Did
  readonly store: Store
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics?: Metrics
  /** Keys that evidence is verified under. */
  readonly directory: Pick<DeviceDirectory, 'keys'>
  /** Hands a statement to the topic `trust:attestations`, signed hybrid. Absent: nothing can be published. */
  readonly publish?: (payload: Uint8Array) => Promise<void>
  /** Looks up what evidence refers to. Absent: references give nothing. */
  readonly resolve?: NonNullable<EvidenceContext['resolve']>
}

export interface TrustOptions {
  /**
   * Weights per graph, and those of `class`: the social edges as they decide a peer's class, its limits and its access. Defaults: class 7000:3000,
   * social 6000:4000, economic 8000:2000, technical 9000:1000.
   */
  readonly weights?: Partial<Record<GraphKind | 'class', ScoreWeights>>
  readonly limits?: Partial<EdgeLimits>
  /** Statements taken per issuer and hour. Default 30. */
  readonly statementsPerHour?: number
}

export const DEFAULT_WEIGHTS: Readonly<Record<GraphKind | 'class', ScoreWeights>> = {
  class: { direct: 7_000, transitive: 3_000 },
  social: { direct: 6_000, transitive: 4_000 },
  economic: { direct: 8_000, transitive: 2_000 },
  technical: { direct: 9_000, transitive: 1_000 },
}

/** About 30 MB in memory when all of it is used. */
export const DEFAULT_LIMITS: EdgeLimits = { edges: 262_144, issuers: 20_000, layers: 4_096, issuerEdges: 4_096, issuerLayers: 64, ownEdges: 16_384 }
export const DEFAULT_STATEMENTS_PER_HOUR = 30

/** @throws TypeError. */
export function weightsOf(options: TrustOptions): Readonly<Record<GraphKind | 'class', ScoreWeights>> {
  const weights = { ...DEFAULT_WEIGHTS, ...options.weights }
  for (const each of Object.values(weights)) checkWeights(each)
  return weights
}

/** @throws TypeError. */
export function limitsOf(options: TrustOptions): EdgeLimits {
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  for (const [name, value] of Object.entries(limits)) if (!Number.isSafeInteger(value) || value < 1) throw new TypeError(`not a limit: ${name} ${value}`)
  return limits
}
