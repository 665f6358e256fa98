import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'

/** Why something was not taken or not given. A closed list: labels of a metric, and keys of `counters`. */
export const REFUSALS = [
  'malformed',
  'unknown_topic',
  'carrier_denied',
  'author_denied',
  'reader_denied',
  'reserved',
  'too_large',
  'too_old',
  'no_room',
  'too_early',
  'suite',
  'payload',
  'signature',
  'unknown_device',
  'device',
  'equivocation',
  'author_rate',
  'verifier_busy',
  'unsolicited',
  'not_subscribed',
  'subscription_limit',
  'topic_limit',
  'request_limit',
  'answer_budget',
  'request_timeout',
  'missing_limit',
  'digest_storm',
  'digest_budget',
  'cursor',
  'slow_neighbour',
] as const
export type Refusal = (typeof REFUSALS)[number]

export interface GossipSizes {
  readonly neighbours: number
  readonly kept: number
  readonly bytes: number
  readonly held: number
  readonly missing: number
}

export interface GossipCounters {
  refused(reason: Refusal, count?: number): void
  frame(kind: string): void
  /** An entry came for the first time: `push`, `fetch`, `own`. */
  accepted(how: 'push' | 'fetch' | 'own'): void
  duplicate(): void
  /** Delivered before something it refers to. */
  gap(): void
  /** Announces that a slow neighbour will not get. */
  dropped(count: number): void
  session(outcome: 'begun' | 'equal' | 'differed'): void
  /** Ms from the author's clock to being taken here, of a pushed entry. */
  delay(ms: number): void
  /** How much there is right now. */
  sizes(sizes: GossipSizes): void
  /** Refusals so far. */
  readonly refusals: Readonly<Record<Refusal, number>>
}

export function gossipCounters(metrics: Metrics = silentMetrics): GossipCounters {
  const refused = metrics.counter('kith_gossip_refused_total', 'What gossip did not take or give, by reason.', ['reason'])
  const frames = metrics.counter('kith_gossip_frames_total', 'Gossip frames received, by kind.', ['kind'])
  const entries = metrics.counter('kith_gossip_entries_total', 'Entries that came for the first time, by way.', ['way'])
  const duplicates = metrics.counter('kith_gossip_duplicates_total', 'Entries received that were here already.')
  const gaps = metrics.counter('kith_gossip_gaps_total', 'Entries delivered before something they refer to.')
  const dropped = metrics.counter('kith_gossip_announces_dropped_total', 'Announces dropped because a neighbour was too slow.')
  const sessions = metrics.counter('kith_gossip_reconciliations_total', 'Comparisons of a topic with a neighbour, by outcome.', ['outcome'])
  const delays = metrics.histogram('kith_gossip_delay_seconds', 'From the time an author signed to the moment a pushed entry was taken here; clocks differ.')
  const neighbours = metrics.gauge('kith_gossip_neighbours', 'Linked machines that speak gossip.')
  const kept = metrics.gauge('kith_gossip_kept_entries', 'Entries kept of all topics.')
  const bytes = metrics.gauge('kith_gossip_kept_bytes', 'Bytes of entries kept of all topics.')
  const held = metrics.gauge('kith_gossip_held_entries', 'Entries that wait for those they refer to.')
  const missing = metrics.gauge('kith_gossip_missing_entries', 'Entries that a neighbour has and that are not here yet.')
  const refusals = Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>
  return {
    refused(reason, count = 1) {
      refusals[reason] += count
      refused.add(count, { reason })
    },
    frame: (kind) => frames.add(1, { kind }),
    accepted: (way) => entries.add(1, { way }),
    duplicate: () => duplicates.add(1),
    gap: () => gaps.add(1),
    dropped: (count) => dropped.add(count),
    session: (outcome) => sessions.add(1, { outcome }),
    delay: (ms) => delays.observe(Math.max(0, ms) / 1_000),
    sizes(sizes) {
      neighbours.set(sizes.neighbours)
      kept.set(sizes.kept)
      bytes.set(sizes.bytes)
      held.set(sizes.held)
      missing.set(sizes.missing)
    },
    refusals,
  }
}
