import { type ErrorCode, isKithError, KithError } from '../core/errors.ts'
import { isCallersEnd } from './cancellation.ts'
import { unknownOperation } from './errors.ts'
import { TELLING_TIMEOUT_MS } from './head-health.ts'
import type { Flight } from './head-worker.ts'

/** What became of a link, when this side says it. */
const LINK_GONE: ReadonlySet<ErrorCode> = new Set(['LINK_LOST', 'LINK_CLOSED', 'CLOSED', 'STREAM_CORRUPT', 'WIRE_MALFORMED', 'WORKER_LOST'])
/** The call never began there: nobody was reached, or calls as such were refused. */
const NOT_BEGUN: ReadonlySet<ErrorCode> = new Set([
  'PEER_UNREACHABLE',
  'PEER_UNKNOWN',
  'PROTOCOL_UNKNOWN',
  'POLICY_DENIED',
  'GOING_AWAY',
  'LINK_MOVED',
  'BANNED',
])

export interface Outcome {
  /** What the caller is told. */
  readonly error: KithError
  readonly kind: 'answered' | 'ended' | 'lost' | 'late' | 'not-begun'
}

/** Reads the end of a call at a worker: whether the worker answered, is gone, or the caller ended it. */
export function outcomeOf(thrown: unknown, flight: Flight, tookMs: number): Outcome {
  const cancelled = flight.cancellation.error
  if (isKithError(cancelled, 'WORKER_LOST')) return { error: cancelled, kind: 'lost' }
  if (cancelled !== undefined && !isKithError(cancelled, 'CALL_TIMEOUT')) return { error: cancelled, kind: 'ended' }
  const error = thrown instanceof KithError ? thrown : new KithError('CALL_FAILED', undefined, { cause: thrown })
  if (error.code === 'WORKER_DRAINING') return { error, kind: 'not-begun' }
  if (NOT_BEGUN.has(error.code)) return { error: new KithError('WORKER_LOST', undefined, { cause: error }), kind: 'not-begun' }
  if (error.remote) {
    // What the worker hides, the head hides with the same bytes.
    return { error: error.code === 'CALL_UNKNOWN' ? unknownOperation() : error, kind: 'answered' }
  }
  if (LINK_GONE.has(error.code))
    return { error: error.code === 'WORKER_LOST' ? error : new KithError('WORKER_LOST', undefined, { cause: error }), kind: 'lost' }
  if (error.code === 'CALL_TIMEOUT') return { error, kind: tookMs >= TELLING_TIMEOUT_MS ? 'late' : 'ended' }
  return { error, kind: isCallersEnd(error) ? 'ended' : 'answered' }
}
