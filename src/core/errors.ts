import { ERROR_TABLE, type ErrorCode, errorRow } from './error-table.ts'

export type { ErrorCode }

/** Values that may stand in an error's details: plain data, never secrets, never objects with behaviour. */
export type Detail = string | number | boolean | null | readonly Detail[] | { readonly [name: string]: Detail }

export interface KithErrorOptions {
  /** Structured facts for programs. Never a secret. */
  details?: { readonly [name: string]: Detail }
  /** The command or setting that would change the outcome. */
  next?: string
  cause?: unknown
  /** True when the other side reported it. */
  remote?: boolean
}

/**
 * Every failure that is not the caller's mistake (those are `TypeError`s). `code` is stable and comes from one closed union,
 * so a `switch` narrows it; the message is one sentence for people; `next` is what they can do about it.
 */
export class KithError extends Error {
  override readonly name = 'KithError'
  readonly code: ErrorCode
  readonly details: { readonly [name: string]: Detail }
  readonly next: string | undefined
  readonly remote: boolean

  constructor(code: ErrorCode, message?: string, options: KithErrorOptions = {}) {
    super(message ?? ERROR_TABLE[code].meaning, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
    this.next = options.next
    this.remote = options.remote ?? false
  }

  /** Whether trying the same again later can succeed without anybody changing anything. */
  get retryable(): boolean {
    return errorRow(this.code).retry
  }

  /** The number that stands for the code on the wire (VERDICT, REFUSE, stream resets, link close). */
  get number(): number {
    return errorRow(this.code).number
  }

  toJSON(): { code: ErrorCode; message: string; next?: string; details: { readonly [name: string]: Detail } } {
    const json = { code: this.code, message: this.message, details: this.details }
    return this.next === undefined ? json : { ...json, next: this.next }
  }
}

const BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map(Object.entries(ERROR_TABLE).map(([code, row]) => [row.number, code as ErrorCode]))

/** The code behind a number from the wire; numbers this version does not know become `REMOTE_ERROR`. */
export function codeOfNumber(number: number): ErrorCode {
  return BY_NUMBER.get(number) ?? 'REMOTE_ERROR'
}

/** What reads the wrong way round for the side that is told. */
const TOLD: Partial<Readonly<Record<ErrorCode, string>>> = { BANNED: 'The other side has banned this machine.' }

/** An error as the other side reported it by number. */
export function remoteError(number: number, detail = ''): KithError {
  const code = codeOfNumber(number)
  return new KithError(code, TOLD[code] ?? ERROR_TABLE[code].meaning, {
    remote: true,
    details: detail === '' ? { number } : { number, detail },
  })
}

export function isKithError(value: unknown, code?: ErrorCode): value is KithError {
  return value instanceof KithError && (code === undefined || value.code === code)
}

/** Wraps whatever was thrown, so that callers always meet a `KithError`. */
export function asKithError(value: unknown, fallback: ErrorCode): KithError {
  if (value instanceof KithError) return value
  return new KithError(fallback, ERROR_TABLE[fallback].meaning, { cause: value })
}
