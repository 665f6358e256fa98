import { Buffer } from 'node:buffer'
import { type IncomingMessage, request as plainRequest, type RequestOptions } from 'node:http'
import { request as secureRequest } from 'node:https'
import { type Clock, sleep } from '../../core/clock.ts'
import { KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { isSafeUrl } from '../../vault/credentials/limits.ts'
import type { Refresh, RefreshedToken } from '../../vault/credentials/managed.ts'
import type { OidcClient, OidcToken } from '../../vault/credentials/types.ts'

/** From the first byte of the request to the last of the answer. */
const DEADLINE_MS = 15_000
/** Issuers answer with a few KiB. */
const MAX_ANSWER_BYTES = 65_536
/** Longer lives than ten years are mistakes. */
const MAX_LIFE_S = 315_360_000
/** What RFC 6749 section 5.2 calls errors that asking again does not mend. */
const FINAL_ERRORS: ReadonlySet<string> = new Set(['invalid_grant', 'invalid_client', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope'])

/**
 * Refreshes at the token endpoint (RFC 6749 section 6), one POST over TLS, or plain HTTP to this machine. No redirect is followed: a token is given to nobody but
 * whom the owner named. A client with a secret says it in the `Authorization` header (section 2.3.1).
 */
export function tokenEndpoint(clock: Clock): Refresh {
  return async (token, { signal }) => {
    const { client, refreshToken } = token
    if (client === undefined || refreshToken === undefined) throw new KithError('CREDENTIAL_REFUSED', 'the credential has no refresh token and token endpoint')
    const ended = new AbortController()
    const give = AbortSignal.any([signal, ended.signal])
    const deadline = sleep(clock, DEADLINE_MS, give).then(
      () => ended.abort(failed(`the issuer did not answer within ${DEADLINE_MS / 1_000} s`)),
      () => undefined,
    )
    try {
      const answer = await post(client, bodyOf(client, refreshToken), give)
      const text = await readBounded(answer, give)
      return tokensOf(answer.statusCode ?? 0, text)
    } catch (error) {
      if (give.aborted) throw give.reason
      throw error instanceof KithError ? error : failed('the issuer could not be reached', error)
    } finally {
      ended.abort(new KithError('CLOSED'))
      await deadline
    }
  }
}

function post(client: OidcClient, body: Buffer, signal: AbortSignal): Promise<IncomingMessage> {
  const url = new URL(client.tokenEndpoint)
  if (!isSafeUrl(url)) throw new KithError('CREDENTIAL_REFUSED', 'the token endpoint is neither encrypted nor on this machine')
  const options: RequestOptions = {
    method: 'POST',
    agent: false,
    signal,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': body.length,
      accept: 'application/json',
      ...(client.clientSecret === undefined ? {} : { authorization: basicOf(client.clientId, client.clientSecret) }),
    },
  }
  return new Promise((resolve, reject) => {
    const sent = url.protocol === 'https:' ? secureRequest(url, options) : plainRequest(url, options)
    sent.once('response', resolve)
    sent.once('error', reject)
    sent.end(body, () => body.fill(0))
  })
}

async function readBounded(answer: IncomingMessage, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      signal.throwIfAborted()
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) throw failed('the issuer answers with more than an answer has')
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString('utf8')
  } finally {
    answer.destroy()
    for (const chunk of chunks) chunk.fill(0)
  }
}

/** @throws KithError `CREDENTIAL_REFUSED`, `CREDENTIAL_REFRESH_FAILED`. Nothing that an issuer writes is repeated but the error code of the RFC. */
export function tokensOf(status: number, text: string): RefreshedToken {
  const value = parseObject(text)
  if (status === 200 && value !== undefined) return readTokens(value)
  const error = typeof value?.error === 'string' && /^[a-z_]{1,64}$/.test(value.error) ? value.error : undefined
  if (error !== undefined && FINAL_ERRORS.has(error)) throw new KithError('CREDENTIAL_REFUSED', `the issuer says ${error}`, { details: { error, status } })
  throw failed(status === 200 ? 'the answer of the issuer is not understood' : `the issuer answers with ${status}${error === undefined ? '' : ` ${error}`}`)
}

function readTokens(value: Readonly<Record<string, unknown>>): RefreshedToken {
  const { access_token: access, refresh_token: refresh, token_type: type, expires_in: life } = value
  if (!isTokenText(access) || (refresh !== undefined && !isTokenText(refresh))) throw failed('the issuer gives no token that can be sent')
  if (type !== undefined && !(typeof type === 'string' && type.toLowerCase() === 'bearer')) throw failed('the issuer gives a token of another kind than Bearer')
  // Some issuers write the number as text.
  const seconds = typeof life === 'string' && /^\d{1,10}$/.test(life) ? Number(life) : life
  const known = typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0
  return {
    accessToken: Secret.take(Buffer.from(access)),
    refreshToken: refresh === undefined ? undefined : Secret.take(Buffer.from(refresh)),
    expiresInMs: known ? Math.floor(Math.min(seconds, MAX_LIFE_S) * 1_000) : undefined,
  }
}

function isTokenText(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,8192}$/.test(value)
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}

/** The form, with the token from guarded memory to the buffer that is sent, which is zeroed then. */
function bodyOf({ clientId, clientSecret }: OidcClient, refreshToken: NonNullable<OidcToken['refreshToken']>): Buffer {
  const client = clientSecret === undefined ? `client_id=${formEncode(Buffer.from(clientId)).toString('latin1')}&` : ''
  const start = Buffer.from(`grant_type=refresh_token&${client}refresh_token=`)
  return refreshToken.use((bytes) => {
    const token = formEncode(bytes)
    const body = Buffer.concat([start, token])
    token.fill(0)
    return body
  })
}

function basicOf(clientId: string, clientSecret: Secret): string {
  return clientSecret.use((bytes) => {
    const secret = formEncode(bytes)
    const pair = Buffer.concat([formEncode(Buffer.from(clientId)), Buffer.from(':'), secret])
    try {
      return `Basic ${pair.toString('base64')}`
    } finally {
      secret.fill(0)
      pair.fill(0)
    }
  })
}

/** application/x-www-form-urlencoded; everything but unreserved characters as %XX. */
function formEncode(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(bytes.length * 3)
  let length = 0
  for (const byte of bytes) {
    if (/[A-Za-z0-9._~-]/.test(String.fromCharCode(byte))) out[length++] = byte
    else length += out.write(`%${byte.toString(16).toUpperCase().padStart(2, '0')}`, length, 'latin1')
  }
  const encoded = Buffer.from(out.subarray(0, length))
  out.fill(0)
  return encoded
}

function failed(message: string, cause?: unknown): KithError {
  return new KithError('CREDENTIAL_REFRESH_FAILED', message, { cause })
}
