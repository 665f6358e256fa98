import { codeOfNumber, type KithError } from '../core/errors.ts'
import { type Metrics, silentMetrics } from '../core/observe/metrics.ts'
import type { LinkEvent } from './types.ts'

export interface LinkMetrics {
  /** Devices linked now. */
  links(count: number): void
  event(type: LinkEvent['type']): void
  dialled(scheme: string, result: string): void
  /** A connection of somebody else that came to no link. */
  strangerLeft(error: KithError): void
  /** A connection ended. */
  ended(error: KithError | null, remote: boolean): void
  /** A stream of a peer was reset here, with this number. */
  refused(number: number): void
}

/** What the other side says is its word: it chooses no label. */
const REMOTE = 'remote'

/** Counters of the mesh. */
export function linkMetrics(metrics: Metrics = silentMetrics): LinkMetrics {
  const links = metrics.gauge('kith_links', 'Devices of peers that are linked now.')
  const events = metrics.counter('kith_link_events_total', 'Links that came up, went down or moved; pairings; warnings.', ['type'])
  const dials = metrics.counter('kith_dials_total', 'Attempts to reach an address, by scheme and outcome.', ['scheme', 'result'])
  const strangers = metrics.counter('kith_handshakes_failed_total', 'Connections of others that came to no link, by code.', ['code'])
  const ended = metrics.counter(
    'kith_connections_ended_total',
    'Connections that ended, by code: `none` when nothing was wrong, `remote` when the other side said why.',
    ['code'],
  )
  const refused = metrics.counter('kith_streams_refused_total', 'Streams of peers that were reset here, by the code they were told.', ['code'])
  return {
    links: (count) => links.set(count),
    event: (type) => events.add(1, { type }),
    strangerLeft: (error) => strangers.add(1, { code: error.remote ? REMOTE : error.code }),
    ended: (error, remote) => ended.add(1, { code: error === null ? 'none' : remote ? REMOTE : error.code }),
    refused: (number) => refused.add(1, { code: codeOfNumber(number) }),
    dialled: (scheme, result) => dials.add(1, { scheme, result }),
  }
}
