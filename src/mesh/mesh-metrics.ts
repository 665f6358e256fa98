import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'
import type { LinkEvent } from './types.ts'

export interface LinkMetrics {
  /** Devices linked now. */
  links(count: number): void
  event(type: LinkEvent['type']): void
  dialled(scheme: string, result: string): void
}

/** Counters of the mesh. */
export function linkMetrics(metrics: Metrics = silentMetrics): LinkMetrics {
  const links = metrics.gauge('kith_links', 'Devices of peers that are linked now.')
  const events = metrics.counter('kith_link_events_total', 'Links that came up, went down or moved; pairings; warnings.', ['type'])
  const dials = metrics.counter('kith_dials_total', 'Attempts to reach an address, by scheme and outcome.', ['scheme', 'result'])
  return {
    links: (count) => links.set(count),
    event: (type) => events.add(1, { type }),
    dialled: (scheme, result) => dials.add(1, { scheme, result }),
  }
}
