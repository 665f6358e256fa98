import type { Did } from '../identity/did.ts'
import type { EdgeGraph } from './edge-graph.ts'
import { classOfScore, FULL, type ScoreWeights, scoreOf } from './score.ts'
import type { TrustPath, TrustScore, TrustView } from './types.ts'

/** Paths that are told; a friend of everybody has thousands. */
export const MAX_PATHS = 64

/** A score with everything it was made from. */
export function explainScore(edges: EdgeGraph, target: Did, view: TrustView, weights: ScoreWeights, now: number): TrustScore {
  const graph = view.graph ?? 'social'
  const { direct, transitive, introducer } = edges.standing(target, graph, view.scope, now)
  const paths: TrustPath[] = []
  edges.paths(target, graph, view.scope, now, (via, first, second) => {
    paths.push({ via: via.did, first, second, contribution: Math.floor((first * second) / FULL) })
  })
  const score = scoreOf(direct, transitive, weights)
  return {
    target,
    score,
    class: classOfScore(score),
    direct,
    transitive,
    // The sort is stable: equal ones stay in order of the introducer's key.
    paths: paths.toSorted((a, b) => b.contribution - a.contribution).slice(0, MAX_PATHS),
    pathCount: paths.length,
    introducer: direct > 0 ? undefined : introducer,
  }
}
