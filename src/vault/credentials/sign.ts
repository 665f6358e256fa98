import { checkOrigin, type InjectedRequest, inject, type RequestHeaders } from './inject.ts'
import { bodyDigest, EMPTY_BODY_SHA256, signRequest } from './sigv4.ts'
import type { Credential, CredentialInfo, S3AccessKey } from './types.ts'

export const DEFAULT_REGION = 'us-east-1'
export const DEFAULT_SIGNED = 's3'

/** A request as it will be sent: a signature covers all of it, so nothing may change afterwards. */
export interface WholeRequest extends InjectedRequest {
  readonly method: string
  /** Path and query as in the request line, percent-encoded. */
  readonly target: string
  readonly body: Uint8Array | undefined
  /** Ms since the epoch; services of this kind allow some 15 minutes of difference. */
  readonly nowMs: number
}

/**
 * The headers of a request with what any kind of credential adds to it: a header, or for `s3` a signature (AWS Signature Version 4) of the request as it stands.
 * @throws KithError as `inject`.
 */
export function authorize(request: WholeRequest, credential: Credential, info: CredentialInfo): RequestHeaders {
  return credential.type === 's3' ? signed(request, credential, info) : inject(request, credential, info)
}

function signed(
  { url, headers, method, target, body, nowMs }: WholeRequest,
  { accessKey, secretKey, sessionToken, scope }: S3AccessKey,
  info: CredentialInfo,
): RequestHeaders {
  checkOrigin(url, info)
  const given = Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [[name.toLowerCase(), String(value)] as const]))
  const whole = [...given.filter(([name]) => name !== 'host'), ['host', url.host] as const]
  const bodySha256 = body === undefined ? EMPTY_BODY_SHA256 : bodyDigest(body)
  const place = { region: scope?.region ?? DEFAULT_REGION, service: scope?.service ?? DEFAULT_SIGNED, nowMs }
  const { headers: added } = signRequest({ method, target, headers: whole, bodySha256 }, { accessKey, secretKey, sessionToken }, place)
  return Object.fromEntries([...whole, ...added])
}
