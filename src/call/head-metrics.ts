import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'
import type { Outcome } from './head-outcome.ts'

export interface HeadMetrics {
  forwarded(outcome: 'completed' | Outcome['kind']): void
  retried(): void
  ejected(): void
  registration(outcome: 'registered' | 'replaced' | 'refused' | 'removed'): void
  workers(count: number): void
}

export function headMetrics(metrics: Metrics = silentMetrics): HeadMetrics {
  const forwards = metrics.counter('kith_call_forwards_total', 'Calls that were handed to workers, by how they ended.', ['outcome'])
  const retries = metrics.counter('kith_call_retries_total', 'Calls that were made again at another worker.')
  const ejections = metrics.counter('kith_call_ejections_total', 'Workers put aside because they failed or were much slower than others.')
  const registrations = metrics.counter('kith_call_registrations_total', 'Registrations of workers, by outcome.', ['outcome'])
  const workers = metrics.gauge('kith_call_workers', 'Workers that are registered.')
  return {
    forwarded: (outcome) => forwards.add(1, { outcome }),
    retried: () => retries.add(),
    ejected: () => ejections.add(),
    registration: (outcome) => registrations.add(1, { outcome }),
    workers: (count) => workers.set(count),
  }
}
