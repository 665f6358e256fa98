import { type ErrorCode, isKithError, KithError, type KithErrorOptions } from '../core/errors.ts'

/** The single checks of Hello (PN-5) and locate (PN-2); `details.check` of their errors, so that `why` and tests can tell them apart. */
export type HelloCheck =
  | 'message'
  | 'size'
  | 'own-link'
  | 'peer-link'
  | 'peer-did'
  | 'transport'
  | 'exchange'
  | 'self'
  | 'binding-did'
  | 'binding-link'
  | 'extension'
  | 'chain-extension'
  | 'revealed-key'
  | 'suite'
  | 'signature'
  | 'mldsa'
  | 'boot'
  | 'run'
  | 'capability'

export function checkFailed(code: ErrorCode, check: HelloCheck, message: string, options: KithErrorOptions = {}): KithError {
  return new KithError(code, message, { ...options, details: { check, ...options.details } })
}

/** Bytes that do not decode are the peer's broken greeting, whatever decoder met them. */
export function asHelloInvalid(error: unknown, check: HelloCheck): unknown {
  if (!isKithError(error, 'WIRE_MALFORMED')) return error
  return new KithError('HELLO_INVALID', `the greeting does not decode: ${error.message}`, { details: { check, ...error.details }, cause: error })
}

/** What an `AbortSignal` was aborted with, as an error of ours. */
export function abortError(signal: AbortSignal): KithError {
  return signal.reason instanceof KithError ? signal.reason : new KithError('ABORTED', undefined, { cause: signal.reason })
}
