import { Buffer } from 'node:buffer'
import { KithError } from '../../core/errors.ts'
import type { Secret } from '../../core/secret.ts'
import { isSafeUrl } from './limits.ts'
import type { Credential, CredentialInfo } from './types.ts'

/** Headers as Node gives and takes them: names in any case. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

export interface InjectedRequest {
  readonly url: URL
  readonly headers: RequestHeaders
}

/**
 * The headers of a request with the credential in them. One of that name that the request brought is replaced: what a caller claims for itself never goes beside
 * what the node vouches for. The value is a string, because HTTP in Node takes strings; it lives as long as the request.
 *
 * For `s3` use `authorize`, which signs the request: its secret is never sent.
 * @throws KithError `CREDENTIAL_ORIGIN` for an address that it is not for, or one that is neither encrypted nor on this machine; `CREDENTIAL_INVALID` for `s3`,
 *   and for `oidc` without an access token.
 */
export function inject({ url, headers }: InjectedRequest, credential: Credential, info: CredentialInfo): RequestHeaders {
  checkOrigin(url, info)
  const [name, value] = headerOf(credential)
  const kept = Object.entries(headers).filter(([known]) => known.toLowerCase() !== name)
  return { ...Object.fromEntries(kept), [name]: value }
}

/** @throws KithError `CREDENTIAL_ORIGIN`. */
export function checkOrigin(url: URL, { service, origins }: CredentialInfo): void {
  if (!isSafeUrl(url)) {
    throw new KithError('CREDENTIAL_ORIGIN', `The credential for ${service} is sent encrypted, or not beyond this machine.`, {
      details: { service },
      next: 'use https',
    })
  }
  if (origins.length === 0 || origins.includes(url.origin)) return
  throw new KithError('CREDENTIAL_ORIGIN', `The credential for ${service} is not for this address.`, {
    details: { service, origins },
    next: `kith credential add ${service} --replace --origin ORIGIN`,
  })
}

function headerOf(credential: Credential): readonly [name: string, value: string] {
  switch (credential.type) {
    case 'api-key':
      return [credential.header, textOf(credential.token)]
    case 'bearer':
      return ['authorization', `Bearer ${textOf(credential.token)}`]
    case 'basic':
      return ['authorization', `Basic ${basicOf(credential.username, credential.password)}`]
    case 'oidc':
      if (credential.accessToken === undefined) throw new KithError('CREDENTIAL_INVALID', 'The credential has no access token yet.')
      return ['authorization', `Bearer ${textOf(credential.accessToken)}`]
    case 'custom':
      return ['authorization', `${credential.scheme} ${credential.params.map(({ name, value }) => `${name}="${quoted(value)}"`).join(', ')}`]
    case 's3':
      throw new KithError('CREDENTIAL_INVALID', 'An S3 key signs requests; it is never sent.')
  }
}

/** Visible ASCII: held to that before it was kept. */
function textOf(secret: Secret): string {
  return secret.use((bytes) => bytes.toString('latin1'))
}

/** Only `"` and `\` are escaped (RFC 9110 section 5.6.4). */
function quoted(secret: Secret): string {
  return textOf(secret).replace(/["\\]/g, '\\$&')
}

function basicOf(username: string, password: Secret): string {
  return password.use((bytes) => {
    const name = Buffer.from(`${username}:`)
    const pair = Buffer.alloc(name.length + bytes.length)
    try {
      name.copy(pair)
      bytes.copy(pair, name.length)
      return pair.toString('base64')
    } finally {
      pair.fill(0)
    }
  })
}
