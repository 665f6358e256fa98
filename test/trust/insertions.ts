import type { Did } from '../../src/identity/did.ts'
import type { EdgeGraph } from '../../src/trust/edge-graph.ts'
import { scoreOf } from '../../src/trust/score.ts'
import { DEFAULT_WEIGHTS } from '../../src/trust/trust-options.ts'
import { generator } from '../fuzz/mutate.ts'
import { edgeGraph, me, NOW, plainDids, put } from './support.ts'

/** Own edges go to so many. */
const FRIENDS = 120

/**
 * Adds so many random edges, or raises ones that are there, among so many people, and counts the scores that fell by it. A tenth of the edges are own ones; each
 * change is checked for its target and for one person that the source speaks of.
 */
export function insertions(count: number, people: number, seed: string): { readonly lowered: number; readonly raised: number } {
  const everybody = plainDids(`insertion ${seed}`, people)
  const pick = generator(everybody.length)
  const graph: EdgeGraph = edgeGraph({ edges: count + people, issuerEdges: people, ownEdges: people, issuers: people })
  const weights: Map<string, number> = new Map()
  const lastOf: Map<Did, Did> = new Map()
  const scoreNow = (target: Did): number => {
    const { direct, transitive } = graph.standing(target, 'social', undefined, NOW)
    return scoreOf(direct, transitive, DEFAULT_WEIGHTS.class)
  }
  let lowered = 0
  let raised = 0
  for (let done = 0; done < count; done++) {
    const own = pick(10) === 0
    const source = own ? me : (everybody[pick(people)] as Did)
    const target = everybody[pick(own ? FRIENDS : people)] as Did
    if (source === target) continue
    const id = `${source} ${target}`
    const weight = Math.min(10_000, (weights.get(id) ?? 0) + 1 + pick(3_000))
    weights.set(id, weight)
    const watched = [target, lastOf.get(target)].filter((each) => each !== undefined)
    const before = watched.map(scoreNow)
    put(graph, source, target, weight, { sequence: done + 1 })
    lastOf.set(source, target)
    const after = watched.map(scoreNow)
    if (after.some((score, at) => score < (before[at] as number))) lowered++
    if (after.some((score, at) => score > (before[at] as number))) raised++
  }
  return { lowered, raised }
}
