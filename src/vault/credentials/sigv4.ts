import { Buffer } from 'node:buffer'
import { toHex } from '../../core/bytes.ts'
import { hmacSha256, sha256 } from '../../core/crypto/hash.ts'
import type { Secret } from '../../core/secret.ts'

/**
 * # AWS Signature Version 4
 *
 * ```text
 * canonical request = METHOD \n path \n query, sorted \n headers, lower case and sorted, each with \n \n names of them \n hex SHA-256 of the body
 * string to sign    = AWS4-HMAC-SHA256 \n 20150830T123600Z \n 20150830/region/service/aws4_request \n hex SHA-256 of the canonical request
 * key               = HMAC(HMAC(HMAC(HMAC("AWS4" || secret, date), region), service), "aws4_request")
 * signature         = hex HMAC(key, string to sign)
 * ```
 *
 * A function of its own, apart from the credentials: signing is the protocol of a service. Source: AWS General Reference, "Signature Version 4".
 */
export const EMPTY_BODY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
export const UNSIGNED_BODY = 'UNSIGNED-PAYLOAD'
const ALGORITHM = 'AWS4-HMAC-SHA256'
/** What proxies and the way itself may change is not signed. */
const UNSIGNED: ReadonlySet<string> = new Set([
  'authorization',
  'connection',
  'expect',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'x-amzn-trace-id',
])
/** AWS refuses presigned requests that live longer. */
const MAX_EXPIRES_S = 604_800

/** A request as it goes over the wire. */
export interface SignableRequest {
  readonly method: string
  /** Path and query as in the request line, percent-encoded: `/photos/cat.jpg?versionId=3`. */
  readonly target: string
  /** With `host`. A name that comes twice counts as one header with both values, in this order. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Hex SHA-256 of the body; default: of an empty one. `UNSIGNED_BODY` where the service allows that. */
  readonly bodySha256?: string
}

export interface SigningKey {
  readonly accessKey: string
  readonly secretKey: Secret
  readonly sessionToken?: Secret | undefined
}

export interface SigningScope {
  readonly region: string
  /** `s3`, `execute-api`, ... */
  readonly service: string
  /** Ms since the epoch. AWS allows 15 minutes of difference. */
  readonly nowMs: number
  /** Take `.`, `..` and repeated slashes out of the path. Default: all services but S3, whose keys may contain them. */
  readonly normalizePath?: boolean
  /** Encode the path, as it is sent, once more. Default: all services but S3. */
  readonly encodePath?: boolean
  /** Some services want the session token beside the signature instead of under it. Default true: signed. */
  readonly signSessionToken?: boolean
  /** Further headers to leave out of the signature, lower case. */
  readonly unsignedHeaders?: ReadonlySet<string>
  /** Send the digest of the body as `x-amz-content-sha256`, which S3 demands. Default: S3 only. */
  readonly sendBodyDigest?: boolean
}

export interface SignedRequest {
  /** To be added to the request: `x-amz-date`, `authorization`, and what else was signed. They replace any of these names. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly canonicalRequest: string
  readonly stringToSign: string
  /** 64 hexadecimal digits. */
  readonly signature: string
}

/** Signs a request in its headers. @throws TypeError for a request without a host, or with a line break in a name; KithError `SECRET_WIPED`. */
export function signRequest(request: SignableRequest, key: SigningKey, scope: SigningScope): SignedRequest {
  const time = timeOf(scope.nowMs)
  const body = request.bodySha256 ?? EMPTY_BODY_SHA256
  const added: [string, string][] = [['x-amz-date', time]]
  if (scope.sendBodyDigest ?? scope.service === 's3') added.push(['x-amz-content-sha256', body])
  const token: [string, string][] = key.sessionToken === undefined ? [] : [['x-amz-security-token', key.sessionToken.use((bytes) => bytes.toString('latin1'))]]
  const signedToken = scope.signSessionToken ?? true
  const all = replaced(request.headers, signedToken ? [...added, ...token] : added)
  const { names, text } = canonicalHeaders(all, scope.unsignedHeaders)
  const { path, query } = canonicalTarget(request.target, scope)
  const canonicalRequest = [request.method, path, query, text, names, body].join('\n')
  const { stringToSign, signature } = sign(canonicalRequest, time, key, scope)
  const authorization = `${ALGORITHM} Credential=${key.accessKey}/${scopeOf(time, scope)}, SignedHeaders=${names}, Signature=${signature}`
  return { headers: [...added, ...token, ['authorization', authorization]], canonicalRequest, stringToSign, signature }
}

/**
 * Signs a request in its query, for a link that works for a while. Gives the whole target.
 * @throws as `signRequest`; TypeError for a life beyond 7 days.
 */
export function presignRequest(
  request: SignableRequest,
  key: SigningKey,
  scope: SigningScope & { readonly expiresS: number },
): SignedRequest & { readonly target: string } {
  if (!Number.isInteger(scope.expiresS) || scope.expiresS < 1 || scope.expiresS > MAX_EXPIRES_S)
    throw new TypeError(`a presigned request lives 1 to ${MAX_EXPIRES_S} s`)
  const time = timeOf(scope.nowMs)
  const { names, text } = canonicalHeaders(request.headers, scope.unsignedHeaders)
  const token: [string, string][] = key.sessionToken === undefined ? [] : [['X-Amz-Security-Token', key.sessionToken.use((bytes) => bytes.toString('latin1'))]]
  const signedToken = scope.signSessionToken ?? true
  const added: [string, string][] = [
    ['X-Amz-Algorithm', ALGORITHM],
    ['X-Amz-Credential', `${key.accessKey}/${scopeOf(time, scope)}`],
    ['X-Amz-Date', time],
    ['X-Amz-Expires', String(scope.expiresS)],
    ['X-Amz-SignedHeaders', names],
  ]
  const append = (target: string, pairs: readonly (readonly [string, string])[]): string =>
    pairs.length === 0
      ? target
      : `${target}${target.includes('?') ? '&' : '?'}${pairs.map(([name, value]) => `${encode(utf8(name))}=${encode(utf8(value))}`).join('&')}`
  const target = append(request.target, signedToken ? [...added, ...token] : added)
  const { path, query } = canonicalTarget(target, scope)
  const canonicalRequest = [request.method, path, query, text, names, request.bodySha256 ?? EMPTY_BODY_SHA256].join('\n')
  const { stringToSign, signature } = sign(canonicalRequest, time, key, scope)
  const whole = append(target, [...(signedToken ? [] : token), ['X-Amz-Signature', signature]])
  return { headers: [], target: whole, canonicalRequest, stringToSign, signature }
}

export function bodyDigest(body: Uint8Array): string {
  return toHex(sha256(body))
}

function sign(
  canonicalRequest: string,
  time: string,
  { secretKey }: SigningKey,
  scope: SigningScope,
): { readonly stringToSign: string; readonly signature: string } {
  const { region, service } = scope
  const stringToSign = [ALGORITHM, time, scopeOf(time, scope), toHex(sha256(utf8(canonicalRequest)))].join('\n')
  const first = secretKey.use((bytes) => {
    const prefixed = Buffer.alloc(4 + bytes.length)
    prefixed.write('AWS4', 'latin1')
    bytes.copy(prefixed, 4)
    return chained(prefixed, time.slice(0, 8))
  })
  const key = chained(chained(chained(first, region), service), 'aws4_request')
  const signature = toHex(hmacSha256(key, utf8(stringToSign)))
  key.fill(0)
  return { stringToSign, signature }
}

/** The next key; the one before is wiped. */
function chained(key: Uint8Array, text: string): Uint8Array {
  const next = hmacSha256(key, utf8(text))
  key.fill(0)
  return next
}

function scopeOf(time: string, { region, service }: SigningScope): string {
  return `${time.slice(0, 8)}/${region}/${service}/aws4_request`
}

/** 20150830T123600Z */
function timeOf(nowMs: number): string {
  return new Date(nowMs).toISOString().replace(/[:-]|\.\d{3}/g, '')
}

function replaced(headers: SignableRequest['headers'], added: readonly (readonly [string, string])[]): SignableRequest['headers'] {
  const names = new Set(added.map(([name]) => name))
  return [...headers.filter(([name]) => !names.has(name.toLowerCase())), ...added]
}

function canonicalHeaders(headers: SignableRequest['headers'], unsigned: ReadonlySet<string> | undefined): { readonly names: string; readonly text: string } {
  const values = new Map<string, string[]>()
  for (const [given, value] of headers) {
    const name = given.trim().toLowerCase()
    if (name === '' || /[\r\n:]/.test(name)) throw new TypeError('a header has a name without colons and line breaks')
    if (UNSIGNED.has(name) || unsigned?.has(name) === true) continue
    // A value folded over several lines is a list of them; runs of spaces count as one.
    const parts = value.split(/\r?\n/).map((part) => part.trim().replace(/ +/g, ' '))
    values.set(name, [...(values.get(name) ?? []), ...parts])
  }
  if (!values.has('host')) throw new TypeError('a request is signed with its host')
  const sorted = [...values].sort(([a], [b]) => (a < b ? -1 : 1))
  return { names: sorted.map(([name]) => name).join(';'), text: sorted.map(([name, parts]) => `${name}:${parts.join(',')}\n`).join('') }
}

function canonicalTarget(target: string, scope: SigningScope): { readonly path: string; readonly query: string } {
  const at = target.indexOf('?')
  const path = at < 0 ? target : target.slice(0, at)
  const s3 = scope.service === 's3'
  const normal = (scope.normalizePath ?? !s3) ? normalized(path) : path === '' ? '/' : path
  const segments = normal.split('/')
  const encoded = (scope.encodePath ?? !s3) ? segments.map((segment) => encode(utf8(segment))) : segments.map((segment) => encode(decoded(segment)))
  return { path: encoded.join('/'), query: at < 0 ? '' : canonicalQuery(target.slice(at + 1)) }
}

/** Without `.`, `..` and empty segments; a slash at the end stays. */
function normalized(path: string): string {
  const kept: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '.' && segment !== '') kept.push(segment)
  }
  const slash = kept.length > 0 && path.endsWith('/') ? '/' : ''
  return `/${kept.join('/')}${slash}`
}

/** Sorted by the bytes of names, then of values, after encoding. */
function canonicalQuery(query: string): string {
  const pairs = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=')
      const [name, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
      return [encode(decoded(name)), encode(decoded(value))] as const
    })
  pairs.sort(([a, x], [b, y]) => (a === b ? (x < y ? -1 : x > y ? 1 : 0) : a < b ? -1 : 1))
  return pairs.map(([name, value]) => `${name}=${value}`).join('&')
}

/** Percent-encoded bytes as they are meant; a lone `%` stands for itself, as does `+`. */
function decoded(text: string): Buffer {
  const bytes = Buffer.from(text)
  const out = Buffer.alloc(bytes.length)
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const hex = bytes.toString('latin1', at + 1, at + 3)
    const isEscape = bytes[at] === 0x25 && /^[0-9a-fA-F]{2}$/.test(hex)
    out[length++] = isEscape ? Number.parseInt(hex, 16) : (bytes[at] as number)
    if (isEscape) at += 2
  }
  return out.subarray(0, length)
}

/** Everything but the unreserved characters of RFC 3986, in upper case. */
function encode(bytes: Uint8Array): string {
  let out = ''
  for (const byte of bytes) {
    const letter = String.fromCharCode(byte)
    out += /[A-Za-z0-9._~-]/.test(letter) ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return out
}

function utf8(text: string): Buffer {
  return Buffer.from(text)
}
