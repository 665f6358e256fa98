import { KithError } from '../../core/errors.ts'

/** What a credential may be. Everything that comes from a file, a person or the store is held to it before it is used. */
export const MAX_SECRET_BYTES = 8_192
export const MAX_CREDENTIALS = 1_024
export const MAX_PARAMS = 16
export const MAX_ORIGINS = 8
export const MAX_NAME_BYTES = 256
export const MAX_URL_BYTES = 512
const MAX_SERVICE_LENGTH = 64
const MAX_DID_LENGTH = 128

const SERVICE = /^[a-z0-9][a-z0-9._-]*$/
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Headers that say where a request goes, how long it is or who talks to whom are not a credential's. */
const FORBIDDEN_HEADERS: ReadonlySet<string> = new Set([
  ...['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'te', 'trailer', 'keep-alive', 'expect'],
  ...['proxy-connection', 'content-type', 'content-encoding', 'via', 'forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'],
])

export function isServiceName(text: string): boolean {
  return text.length <= MAX_SERVICE_LENGTH && SERVICE.test(text)
}

/** A loose look: whether it is a DID is the business of whoever gives it. */
export function isDidText(text: string): boolean {
  return text.length <= MAX_DID_LENGTH && /^did:[a-z0-9]+:[A-Za-z0-9]+$/.test(text)
}

export function isHeaderName(text: string): boolean {
  return text.length <= 64 && TOKEN.test(text) && text === text.toLowerCase() && !FORBIDDEN_HEADERS.has(text)
}

export function isToken(text: string): boolean {
  return text.length <= 64 && TOKEN.test(text)
}

/** Visible ASCII and inner spaces: what may stand in a header as it is (RFC 9110 section 5.5). */
export function isFieldText(bytes: Uint8Array): boolean {
  const inside = (byte: number): boolean => byte > 0x20 && byte < 0x7f
  return bytes.length > 0 && inside(bytes[0] as number) && inside(bytes.at(-1) as number) && bytes.every((byte) => byte === 0x20 || inside(byte))
}

/** Text a person chose: no control characters, not empty. */
export function isPlainName(text: string): boolean {
  return text.length > 0 && Buffer.byteLength(text) <= MAX_NAME_BYTES && text.isWellFormed() && !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text)
}

/** The canonical form of `SCHEME://HOST[:PORT]`; undefined for anything else, and for http beyond this machine. */
export function parseOrigin(text: string): string | undefined {
  const url = text.length <= MAX_URL_BYTES && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.username !== '' || url.password !== '' || url.pathname !== '/' || url.search !== '' || url.hash !== '') return undefined
  return isSafeUrl(url) ? url.origin : undefined
}

/** Encrypted, or not leaving this machine. */
export function isSafeUrl(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
}

export function invalid(reason: string, next = 'kith credential add --help'): KithError {
  return new KithError('CREDENTIAL_INVALID', `The credential is not valid: ${reason}.`, { details: { reason }, next })
}

/** @throws KithError `CREDENTIAL_INVALID`. */
export function checkKey(key: { readonly service: string; readonly did?: string | undefined }): void {
  if (!isServiceName(key.service)) throw invalid(`a service is named with 1 to ${MAX_SERVICE_LENGTH} lower-case letters, digits, dots, dashes and underscores`)
  if (key.did !== undefined && !isDidText(key.did)) throw invalid('the identity is not a DID')
}

/** @throws KithError `CREDENTIAL_INVALID`. */
export function checkOrigins(origins: readonly string[]): void {
  if (origins.length > MAX_ORIGINS) throw invalid(`at most ${MAX_ORIGINS} origins`)
  for (const origin of origins) if (parseOrigin(origin) !== origin) throw invalid('an origin is written https://HOST[:PORT], or http for this machine')
}
