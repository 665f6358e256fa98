import { isKithError } from '../core/errors.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Callee } from './types.ts'

const OUTCOMES: ReadonlyMap<string, string> = new Map([
  ['CALL_UNKNOWN', 'unknown'],
  ['CALL_DENIED', 'denied'],
  ['CALL_INPUT', 'input'],
  ['CALL_TIMEOUT', 'timeout'],
  ['CALL_ERROR', 'declared'],
  ['ABORTED', 'cancelled'],
  ['WORKER_LOST', 'lost'],
  ['WORKER_DRAINING', 'busy'],
  ['GOING_AWAY', 'busy'],
  ['BUDGET_EXCEEDED', 'busy'],
])

/** Counts what comes in by any door. Streams are counted when they are asked for: how they end is their reader's affair. */
export function countedCallee(callee: Callee, metrics: Metrics): Callee {
  const calls = metrics.counter('kith_calls_total', 'Calls of others and of the owner that came in, by how they ended; streams when they began.', ['outcome'])
  const completed = (): void => calls.add(1, { outcome: 'completed' })
  const failed = (error: unknown): void => calls.add(1, { outcome: (isKithError(error) ? OUTCOMES.get(error.code) : undefined) ?? 'failed' })
  return {
    call(request) {
      const answer = callee.call(request)
      answer.then(completed, failed)
      return answer
    },
    stream(request) {
      calls.add(1, { outcome: 'stream' })
      return callee.stream(request)
    },
    carries: (path) => callee.carries?.(path) === true,
    list: (caller) => callee.list(caller),
    describe: (path, caller) => callee.describe(path, caller),
    onChange: (listener) => callee.onChange(listener),
  }
}
