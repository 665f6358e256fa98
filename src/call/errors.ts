import { ERROR_TABLE } from '../core/error-table.ts'
import { type Detail, type ErrorCode, isKithError, KithError } from '../core/errors.ts'
import { travels } from './plain.ts'

/** Codes that operations declare: as in the table of errors, at most 64 characters. */
const CODE = /^[A-Z][A-Z0-9_]{1,63}$/
const MAX_MESSAGE = 1_000

export function isErrorCode(text: string): boolean {
  return CODE.test(text)
}

/** An error that an operation declares: thrown by its handler, and met by whoever called it. Its own code is in `reason`, what the schema describes in `data`. */
export class CallError extends KithError {
  readonly reason: string
  readonly data: unknown

  /** @throws TypeError for a code that is none. */
  constructor(reason: string, message?: string, options: { readonly data?: unknown; readonly remote?: boolean; readonly cause?: unknown } = {}) {
    if (!CODE.test(reason)) throw new TypeError('an error code is 2 to 64 upper-case letters, digits and _')
    super('CALL_ERROR', message ?? `The operation answered ${reason}.`, {
      details: { code: reason, ...(options.data === undefined ? {} : { details: options.data as Detail }) },
      ...(options.remote === undefined ? {} : { remote: options.remote }),
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    })
    this.reason = reason
    this.data = options.data
  }
}

export function isCallError(value: unknown, reason?: string): value is CallError {
  return value instanceof CallError && (reason === undefined || value.reason === reason)
}

/** What a caller who may not know of an operation is told, and everybody about one that does not exist. */
export function unknownOperation(): KithError {
  return new KithError('CALL_UNKNOWN')
}

/** How a call ends that its caller could not make any more. */
export function notAnyMore(): KithError {
  return new KithError('CALL_DENIED', 'The caller may not call this operation any more.')
}

/** An error as it travels: its code, a sentence, and plain data. */
export interface ErrorForm {
  readonly code: string
  readonly message: string
  readonly details?: unknown
}

/** What is told of an error. Anything that is not made for callers is `CALL_FAILED` without its words; data that could not travel by every door is left out. */
export function errorForm(error: unknown): ErrorForm {
  if (error instanceof CallError) {
    const form = { code: error.reason, message: shortened(error.message) }
    return error.data === undefined || !travels(error.data) ? form : { ...form, details: error.data }
  }
  if (!(error instanceof KithError)) return { code: 'CALL_FAILED', message: ERROR_TABLE.CALL_FAILED.meaning }
  const form = { code: error.code, message: shortened(error.message) }
  return Object.keys(error.details).length === 0 || !travels(error.details) ? form : { ...form, details: error.details }
}

/** An error that the other side reported. */
export function errorOfForm(form: ErrorForm): KithError {
  const message = shortened(printable(form.message))
  const { code, details } = form
  if (!Object.hasOwn(ERROR_TABLE, code) || code === 'CALL_ERROR') {
    return isErrorCode(code) ? new CallError(code, message, { data: details, remote: true }) : new KithError('REMOTE_ERROR', message, { remote: true })
  }
  const plain = typeof details === 'object' && details !== null && !Array.isArray(details) ? (details as { readonly [name: string]: Detail }) : {}
  return new KithError(code as ErrorCode, message, { remote: true, details: plain })
}

/** Another machine's words reach terminals and logs. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ')
}

function shortened(text: string): string {
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE)}...`
}

/** An input that is no value of the form it came in. */
export function unreadable(error: unknown): KithError {
  const reason = isKithError(error, 'WIRE_MALFORMED') ? String(error.details.reason) : 'not readable'
  return new KithError('CALL_INPUT', undefined, { details: { path: '', problem: reason } })
}
