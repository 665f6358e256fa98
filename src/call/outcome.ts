import { asKithError, isKithError, KithError } from '../core/errors.ts'
import type { Logger } from '../core/observe/log.ts'
import type { AnyOperation } from './define.ts'
import { CallError } from './errors.ts'
import { travels } from './plain.ts'

/** @returns the value as it may leave. @throws KithError `CALL_FAILED` when the handler broke its own schema; callers learn no more. */
export function checkedOutput(operation: AnyOperation, value: unknown, logger: Logger): unknown {
  const checked = operation.output.check(value)
  if (checked.ok) return checked.value
  logger.error('operation answered against its schema', { operation: operation.name, ...checked.misfit })
  throw new KithError('CALL_FAILED')
}

/**
 * What callers are told of a handler's failure: errors that the operation declares, with data that fits; bad inputs of a stream; the end that the caller itself
 * brought about. Anything else is `CALL_FAILED`, without the words, and stands in the log. Never throws, whatever was thrown.
 */
export function tellable(operation: AnyOperation, error: unknown, logger: Logger): KithError {
  try {
    return told(operation, error, logger)
  } catch (cause) {
    // Data without end, or that answers in its own way, can break the check of its schema.
    logger.error('operation failed with an error that cannot be read', { operation: operation.name })
    return new KithError('CALL_FAILED', undefined, { cause })
  }
}

function told(operation: AnyOperation, error: unknown, logger: Logger): KithError {
  if (error instanceof CallError && !error.remote) {
    const schema = operation.errors.get(error.reason)
    if (error.data !== undefined && !travels(error.data)) {
      logger.error('the data of an error is left out: it has no form in JSON, or is too long', { operation: operation.name, code: error.reason })
      if (schema !== undefined) return new CallError(error.reason, error.message)
    }
    const checked = schema?.check(error.data)
    if (checked?.ok === true) return checked.value === error.data ? error : new CallError(error.reason, error.message, { data: checked.value })
    logger.error('operation failed with an error it does not declare', { operation: operation.name, code: error.reason })
    return new KithError('CALL_FAILED')
  }
  if (isKithError(error) && operation.errors.has(error.code) && !travels(error.details)) {
    logger.error('the data of an error is left out: it has no form in JSON, or is too long', { operation: operation.name, code: error.code })
    return new KithError(error.code, error.message)
  }
  if (isKithError(error) && operation.errors.get(error.code)?.check(error.details).ok === true) return error
  if (isOfInputs(error) || (operation.resumable && isKithError(error, 'CALL_RESUME'))) return error
  logger.error('operation failed', { operation: operation.name, code: asKithError(error, 'CALL_FAILED').code, error })
  return new KithError('CALL_FAILED', undefined, { cause: error })
}

const ofInputs: WeakSet<KithError> = new WeakSet()

/** Marks an error as the caller's own, so that a handler may let it pass. */
export function callersOwn(error: KithError): KithError {
  ofInputs.add(error)
  return error
}

function isOfInputs(error: unknown): error is KithError {
  return error instanceof KithError && ofInputs.has(error)
}
