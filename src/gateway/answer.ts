import type { ServerResponse } from 'node:http'
import { errorForm } from '../call/errors.ts'
import { ERROR_TABLE, type ErrorCode } from '../core/error-table.ts'
import { KithError } from '../core/errors.ts'

/** Answers say what they are and belong to nobody else: no sniffing, no framing, no caching. Nothing allows other origins. */
const SECURITY: readonly string[] = [
  'cache-control',
  'no-store',
  'content-security-policy',
  "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options',
  'nosniff',
]

/** Names and values in turn. Every value is made here or checked; nothing that a caller wrote stands in a header. */
export function sendJson(response: ServerResponse, status: number, text: string, extra: readonly string[]): void {
  const length = Buffer.byteLength(text)
  response.writeHead(status, ['content-type', 'application/json', 'content-length', String(length), ...extra, ...SECURITY])
  response.end(text)
}

/** What an operation gave, as JSON; by itself, because it is most of what goes out. */
export function sendValue(response: ServerResponse, text: string, span: string, traceparent: string): void {
  // biome-ignore format: names and values in pairs
  response.writeHead(200, [
    'content-type', 'application/json',
    'content-length', String(Buffer.byteLength(text)),
    'request-id', span,
    'traceparent', traceparent,
    ...SECURITY,
  ])
  response.end(text)
}

/** An answer of bytes, as they are. */
export function sendBytes(response: ServerResponse, bytes: Uint8Array, extra: readonly string[]): void {
  response.writeHead(200, ['content-type', 'application/octet-stream', 'content-length', String(bytes.length), ...extra, ...SECURITY])
  response.end(bytes)
}

/** A value as it goes out: nothing is null, bytes where only text fits are base64. @throws KithError `CALL_FAILED` for what JSON has no form for. */
export function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : (value ?? null))
  } catch (cause) {
    throw new KithError('CALL_FAILED', 'The answer has no form in JSON.', { cause })
  }
}

export function eventHeaders(extra: readonly string[]): string[] {
  // Proxies that know this header keep nothing back.
  return ['content-type', 'text/event-stream', 'x-accel-buffering', 'no', ...extra, ...SECURITY]
}

/** For answers that other code writes. */
export function setSecurityHeaders(response: ServerResponse, extra: readonly string[]): void {
  const all = [...extra, ...SECURITY]
  for (let i = 0; i < all.length; i += 2) response.setHeader(all[i] as string, all[i + 1] as string)
}

/** Characters of what to do next: a handler may have written it. */
const MAX_NEXT = 1_000

/** What to do about an error that does not say so itself. By its code alone: nobody learns from it whether there is what they may not know of. */
const NEXT: Partial<Readonly<Record<ErrorCode, string>>> = {
  REQUEST_MALFORMED: 'GET /v1/schema says how it is asked for',
  CALL_INPUT: 'GET /v1/schema says what it takes',
  CALL_UNKNOWN: 'GET /v1/schema lists what you may call',
  GATEWAY_UNAUTHORIZED: 'on the node: kith access key add NAME --scope SCOPE',
  GATEWAY_REFUSED: 'ask for it by an address, or name the host in gateway.hosts on the node',
  METHOD_REFUSED: 'use a method that the header Allow names',
  GATEWAY_BUSY: 'try again after the seconds in Retry-After',
}

/** The one shape of every failed answer. An error that an operation declares is told by its own code. */
export function errorText(error: KithError, nextOf: Partial<Readonly<Record<ErrorCode, string>>> = NEXT): string {
  const { code, message, details = {} } = errorForm(error)
  const next = error.next?.slice(0, MAX_NEXT) ?? nextOf[error.code]
  const shape = { code, message, details, ...(next === undefined ? {} : { next }) }
  try {
    return JSON.stringify({ error: shape })
  } catch {
    // What travels in CBOR may have no form in JSON.
    return JSON.stringify({ error: { ...shape, details: {} } })
  }
}

const STATUS: Partial<Readonly<Record<ErrorCode, number>>> = {
  REQUEST_MALFORMED: 400,
  CALL_INPUT: 400,
  GATEWAY_UNAUTHORIZED: 401,
  GATEWAY_REFUSED: 403,
  CALL_DENIED: 403,
  CALL_UNKNOWN: 404,
  NOT_FOUND: 404,
  METHOD_REFUSED: 405,
  MESSAGE_TOO_LARGE: 413,
  CALL_ERROR: 422,
  GATEWAY_BUSY: 429,
  ABORTED: 499,
  CALL_FAILED: 500,
  INTERNAL: 500,
  UNSUPPORTED: 501,
  UPSTREAM_FAILED: 502,
  DEGRADED: 503,
  VAULT_LOCKED: 503,
  WORKER_LOST: 503,
  CALL_TIMEOUT: 504,
  TIMEOUT: 504,
}

/** The status that fits a code best; programs read the code. */
export function statusOf(code: ErrorCode): number {
  const known = STATUS[code]
  if (known !== undefined) return known
  const { exit, retry } = ERROR_TABLE[code]
  return exit === 2 ? 400 : exit === 4 ? 403 : exit === 5 ? 504 : retry ? 503 : 409
}

const METHODS = /^[A-Z]{3,7}(, [A-Z]{3,7}){0,7}$/

/** What an error adds to the headers. */
export function errorHeaders(error: KithError): readonly string[] {
  if (error.code === 'GATEWAY_UNAUTHORIZED') return ['www-authenticate', 'Bearer realm="kith"']
  const { allow } = error.details
  // What another machine answers has the same code and may say anything there.
  if (error.code === 'METHOD_REFUSED' && typeof allow === 'string' && METHODS.test(allow)) return ['allow', allow]
  return error.retryable ? ['retry-after', '1'] : []
}

/** An error as it goes out. What is not ours is said to be a defect and nothing more. */
export function outward(error: unknown): KithError {
  return error instanceof KithError ? error : new KithError('INTERNAL', undefined, { cause: error })
}
