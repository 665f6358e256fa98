import type { ErrorCode } from '../../core/error-table.ts'
import { ERROR_TABLE } from '../../core/error-table.ts'
import { type Detail, KithError } from '../../core/errors.ts'

/** The one shape of every failed answer. */
export interface ErrorBody {
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly next: string | null; readonly details: { readonly [name: string]: Detail } }
}

export function errorBody(error: KithError): ErrorBody {
  return { error: { code: error.code, message: error.message, next: error.next ?? null, details: error.details } }
}

/** The HTTP status that fits a code best; programs read the code, the status only helps tools that know nothing else. */
export function httpStatus(code: ErrorCode): number {
  switch (code) {
    case 'CONTROL_UNAUTHORIZED':
      return 401
    case 'NOT_FOUND':
    case 'PEER_UNKNOWN':
      return 404
    case 'MESSAGE_TOO_LARGE':
      return 413
    case 'IDENTITY_MISSING':
    case 'IDENTITY_LOCKED':
    case 'DEGRADED':
      return 503
    case 'INTERNAL':
      return 500
    default:
      break
  }
  const { exit } = ERROR_TABLE[code]
  return exit === 2 ? 400 : exit === 4 ? 403 : exit === 5 ? 504 : 409
}

/** The error behind an answer, or a `CONTROL_FAILED` when the answer has another shape. */
export function parseErrorBody(value: unknown, status: number): KithError {
  const error = isRecord(value) ? value.error : undefined
  if (isRecord(error)) {
    const { code, message, next, details } = error
    if (typeof code === 'string' && Object.hasOwn(ERROR_TABLE, code) && typeof message === 'string') {
      return new KithError(code as ErrorCode, message, {
        ...(typeof next === 'string' ? { next } : {}),
        ...(isRecord(details) ? { details: details as { readonly [name: string]: Detail } } : {}),
      })
    }
  }
  return new KithError('CONTROL_FAILED', `The daemon answered with status ${status} and nothing that can be read.`, { details: { status }, next: 'kith logs' })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
