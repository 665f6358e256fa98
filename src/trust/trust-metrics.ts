import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'
import type { AttestationOutcome } from './api.ts'

export interface TrustMetrics {
  outcome(outcome: AttestationOutcome): void
  edges(edges: number, issuers: number): void
}

/** Counters of the trust graph. */
export function trustMetrics(metrics: Metrics = silentMetrics): TrustMetrics {
  const statements = metrics.counter('kith_trust_statements_total', 'Trust statements of others that came, by what became of them.', ['outcome'])
  const edges = metrics.gauge('kith_trust_edges', 'Trust edges kept, ended ones that are still remembered included.')
  const issuers = metrics.gauge('kith_trust_issuers', 'Identities whose trust statements are kept.')
  return {
    outcome: (outcome) => statements.add(1, { outcome }),
    edges(count, from) {
      edges.set(count)
      issuers.set(from)
    },
  }
}
