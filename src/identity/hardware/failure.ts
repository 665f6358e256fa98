import { isKithError, KithError } from '../../core/errors.ts'
import * as ck from './cryptoki.ts'

const GONE: readonly number[] = [
  ck.CKR_TOKEN_NOT_PRESENT,
  ck.CKR_TOKEN_NOT_RECOGNIZED,
  ck.CKR_DEVICE_REMOVED,
  ck.CKR_SLOT_ID_INVALID,
  ck.CKR_SESSION_CLOSED,
  ck.CKR_SESSION_HANDLE_INVALID,
]
const WRONG_PIN: readonly number[] = [ck.CKR_PIN_INCORRECT, ck.CKR_PIN_INVALID, ck.CKR_PIN_LEN_RANGE]
const NO_KEY: readonly number[] = [ck.CKR_OBJECT_HANDLE_INVALID, ck.CKR_KEY_HANDLE_INVALID]

/** The way back that is always there: nobody is locked out of an identity for good by a token. */
export const WITHOUT_TOKEN = 'kith id rotate --reason lost (the next keys are in the key file, not in the token)'

/** What a call into the module failed with, in our codes. */
export function tokenFailure(doing: string, uri: string, cause: unknown): KithError {
  if (isKithError(cause)) return cause
  const value = ck.returnValue(cause)
  const details = { uri, ...(value === undefined ? {} : { ckr: `0x${value.toString(16)}` }) }
  const failed = (code: ConstructorParameters<typeof KithError>[0], sentence: string, next: string): KithError =>
    new KithError(code, sentence, { details, next, cause })
  if (value !== undefined && GONE.includes(value)) return gone(uri, cause, details)
  if (value !== undefined && WRONG_PIN.includes(value)) return failed('TOKEN_PIN_WRONG', 'the token does not accept this PIN', 'kith id hardware unlock')
  if (value === ck.CKR_PIN_LOCKED) return pinLocked(details, cause)
  if (value === ck.CKR_PIN_EXPIRED) return failed('TOKEN_PIN_WRONG', 'the PIN of the token has expired', 'set a new one with the tool of your token')
  if (value === ck.CKR_USER_PIN_NOT_INITIALIZED) return failed('TOKEN_UNAVAILABLE', 'the token has no PIN yet', 'set one with the tool of your token')
  if (value === ck.CKR_USER_NOT_LOGGED_IN) return failed('TOKEN_PIN_REQUIRED', 'the token asks for its PIN', 'kith id hardware unlock')
  if (value !== undefined && NO_KEY.includes(value)) return failed('TOKEN_KEY_MISSING', 'the key is not in the token any more', WITHOUT_TOKEN)
  if (value === ck.CKR_MECHANISM_INVALID) return failed('TOKEN_UNAVAILABLE', 'the token does not know Ed25519 (CKM_EDDSA)', 'use a token that does')
  return failed('TOKEN_FAILED', `the token failed at ${doing}`, 'kith doctor')
}

export function gone(uri: string, cause?: unknown, details: { readonly [name: string]: string } = { uri }): KithError {
  return new KithError('TOKEN_UNAVAILABLE', 'the token is not there', { details, next: `put the token back; if it is lost: ${WITHOUT_TOKEN}`, cause })
}

export function pinLocked(details: { readonly [name: string]: string }, cause?: unknown): KithError {
  return new KithError('TOKEN_PIN_LOCKED', 'the token has locked its PIN', {
    details,
    next: `unlock it with the tool of your token and its SO PIN or PUK, or: ${WITHOUT_TOKEN}`,
    cause,
  })
}
