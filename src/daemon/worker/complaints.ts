import type { Clock } from '../../core/clock.ts'
import { type Logger, silentLogger } from '../../core/observe/log.ts'

/** Why a call failed here, for whoever runs the worker. The caller was told that it did. */
export interface Complaint {
  readonly operation: string
  /** Where the answer does not fit; empty for the whole answer, and for handlers that threw. */
  readonly path: string
  readonly problem: string
}

/** How long the same complaint is not made again: callers decide how often an operation runs. */
const QUIET_MS = 1_000
const MAX_TEXT = 500

/** A logger for operations of this process: what they did wrong becomes a complaint, the rest nothing. */
export function complaintLogger(clock: Clock, listener: (complaint: Complaint) => void): Logger {
  let last = ''
  let again = 0
  return {
    ...silentLogger,
    error(event, fields = {}) {
      const { operation } = fields
      if (typeof operation !== 'string') return
      const path = typeof fields.path === 'string' ? fields.path : ''
      const problem = typeof fields.problem === 'string' ? `the answer does not fit its schema: ${fields.problem}` : reasonOf(event, fields)
      const key = JSON.stringify([operation, path, problem])
      const now = clock.monotonic()
      if (key === last && now < again) return
      last = key
      again = now + QUIET_MS
      listener({ operation, path, problem })
    },
    child: () => silentLogger,
  }
}

function reasonOf(event: string, { error, code }: Record<string, unknown>): string {
  if (error === undefined) return typeof code === 'string' ? `it threw ${code}, which it does not declare with data of that form` : event
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return `it threw ${text.slice(0, MAX_TEXT)}${placeOf(error)}`
}

/** Where it was thrown. */
function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const frame = /\(?(file:\/\/[^\s)]+:\d+:\d+)\)?$/m.exec(stack)?.[1]
  return frame === undefined ? '' : ` (${frame.slice(0, MAX_TEXT)})`
}
