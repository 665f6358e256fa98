import type { Did } from '../identity/did.ts'
import { CLASS_SCORE, constraintTable } from '../mesh/constraints.ts'
import type { ClassLimits, PeerClass, Policy } from '../mesh/types.ts'
import type { TrustGraph } from '../trust/api.ts'
import { TrustOracle } from '../trust/oracle.ts'
import type { Standing } from '../trust/standing-types.ts'
import type { AssemblyConfig } from './types.ts'

/** What of the settings the oracle answers by, checked as a whole. */
export interface OracleSettings {
  readonly limits: Readonly<Record<PeerClass, ClassLimits>>
  /** Basis points. */
  readonly minScore: number
}

/** @throws TypeError with the name of the bad value. */
export function oracleSettings({ mesh, trust }: AssemblyConfig): OracleSettings {
  const minScore = trust?.minScore ?? 0
  if (!Number.isInteger(minScore) || minScore < 0 || minScore > 10_000) throw new TypeError('trust.minScore must be a whole number from 0 to 10000')
  return { limits: constraintTable(mesh?.limits), minScore }
}

export interface OraclePolicyParts {
  readonly graph: TrustGraph
  readonly standing: Standing
  readonly settings: () => OracleSettings
  /** What the owner made of a peer, if anything. */
  readonly heldAs: (did: Did) => PeerClass | undefined
}

/** Trust and standing as the further source that the mesh asks, with word of every score that may have changed. */
export function oraclePolicy({ graph, standing, settings, heldAs }: OraclePolicyParts): Policy & { readonly changed: () => void } {
  const listeners = new Set<(peers?: readonly Did[]) => void>()
  const oracle = new TrustOracle({
    trust: {
      // A class that the owner gave is worth at least what it begins with: a partner passes where partners may.
      score: (did) => Math.max(graph.score(did), CLASS_SCORE[heldAs(did) ?? 'isolated']),
      bucketOf: (did) => graph.bucketOf(did),
    },
    standing,
    limits: () => settings().limits,
    minScore: () => settings().minScore,
  })
  return {
    changed: () => {
      for (const listener of [...listeners]) listener()
    },
    decide: (request) => oracle.decide(request),
    constraints: (peer) => oracle.constraints(peer),
    classOf: (peer) => oracle.classOf(peer),
    scoreOf: (peer) => oracle.scoreOf(peer),
    onChange: (listener) => {
      listeners.add(listener)
      const stop = graph.onChange(listener)
      return () => {
        listeners.delete(listener)
        stop()
      }
    },
  }
}
