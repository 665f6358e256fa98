import type { Secret } from '../../core/secret.ts'

/**
 * What a service asks for. Pure data: secrets are `Secret`s, so no set has a string form of what matters; signing requests with it is
 * a function of its own (`sigv4.ts`). Whoever is given a set borrows it from a lease and wipes nothing. `S` is what a secret is held as; other than `Secret` only while one is read or written.
 */
export type Credential<S = Secret> = ApiKey<S> | Basic<S> | Bearer<S> | S3AccessKey<S> | OidcToken<S> | Custom<S>

/** A token in a header of its own, such as `X-Api-Key`. */
export interface ApiKey<S = Secret> {
  readonly type: 'api-key'
  /** Name of the header, lower case. */
  readonly header: string
  readonly token: S
}

/** RFC 7617. */
export interface Basic<S = Secret> {
  readonly type: 'basic'
  /** Without a colon. */
  readonly username: string
  readonly password: S
}

/** RFC 6750. */
export interface Bearer<S = Secret> {
  readonly type: 'bearer'
  readonly token: S
}

/** For AWS Signature Version 4. */
export interface S3AccessKey<S = Secret> {
  readonly type: 's3'
  readonly accessKey: string
  readonly secretKey: S
  readonly sessionToken: S | undefined
  /** What requests are signed for; absent: `s3` in `us-east-1`, as services that are no region of AWS expect it. */
  readonly scope?: S3Scope | undefined
}

/** Both are part of the signature (AWS General Reference, "Signature Version 4", credential scope). */
export interface S3Scope {
  /** `eu-central-1`, ... */
  readonly region: string
  /** `s3`, `execute-api`, ... */
  readonly service: string
}

/** An access token, and how a new one is had (RFC 6749 section 6). */
export interface OidcToken<S = Secret> {
  readonly type: 'oidc'
  /** Absent: the first one is fetched with the refresh token. */
  readonly accessToken: S | undefined
  readonly refreshToken: S | undefined
  readonly client: OidcClient<S> | undefined
}

export interface OidcClient<S = Secret> {
  /** `https:`, or `http:` on this machine. */
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly clientSecret: S | undefined
}

/** `Authorization: SCHEME name="value", ...` (RFC 9110 section 11.4). */
export interface Custom<S = Secret> {
  readonly type: 'custom'
  readonly scheme: string
  /** In the order in which they are sent; names differ. */
  readonly params: readonly CustomParam<S>[]
}

export interface CustomParam<S = Secret> {
  readonly name: string
  readonly value: S
}

export type CredentialType = Credential['type']
export const CREDENTIAL_TYPES: readonly CredentialType[] = ['api-key', 'basic', 'bearer', 's3', 'oidc', 'custom']

/** Whose credential: of a service, and of one identity or of all. */
export interface CredentialKey {
  /** `[a-z0-9][a-z0-9._-]*`, at most 64. */
  readonly service: string
  /** The identity on whose behalf it is used; absent: any. */
  readonly did?: string
}

/** What is known of a credential without opening it. No secret. */
export interface CredentialInfo extends CredentialKey {
  readonly type: CredentialType
  readonly source: 'config' | 'vault'
  /** Schemes and hosts it may be sent to; none named: any that is encrypted or on this machine. */
  readonly origins: readonly string[]
  /** Counts up with each replacement and each renewal; 1 at first. */
  readonly revision: number
  /** Ms since the epoch; undefined for what a configuration names. */
  readonly createdMs: number | undefined
  readonly changedMs: number | undefined
  readonly expiresMs: number | undefined
  /** Whether it renews itself. */
  readonly renews: boolean
}

/** An opened credential. Owned by whoever opened it. */
export interface OpenCredential {
  readonly credential: Credential
  readonly info: CredentialInfo
}

/** A source of credentials. `undefined` when it has none under exactly this key. */
export interface CredentialProvider {
  readonly name: string
  /**
   * The caller wipes what it is given (`wipeCredential`).
   * @throws KithError `VAULT_LOCKED`, `CREDENTIAL_INVALID`, `CREDENTIAL_REFRESH_FAILED`, `CREDENTIAL_REFUSED`, `STORE_FAILED`, or the signal's reason.
   */
  get(key: CredentialKey, options?: { readonly signal?: AbortSignal }): Promise<OpenCredential | undefined>
  list(): Promise<readonly CredentialInfo[]>
}

/** All that is needed of the vault: seal and open bytes with a key that only an unlocked vault has. */
export interface Sealing {
  /** @throws KithError `VAULT_LOCKED`. */
  seal(content: Secret): Uint8Array
  /** @throws KithError `VAULT_LOCKED`, `DECRYPT_FAILED`. */
  open(sealed: Uint8Array): Secret
  readonly locked: boolean
  /** Called when the vault has locked; returns the way to stop. */
  onLock(listener: () => void): () => void
}

/** The same credential with each of its secrets held as something else. */
export function mapSecrets<A, B>(credential: Credential<A>, map: (secret: A) => B): Credential<B> {
  const optional = (secret: A | undefined): B | undefined => (secret === undefined ? undefined : map(secret))
  switch (credential.type) {
    case 'api-key':
    case 'bearer':
      return { ...credential, token: map(credential.token) }
    case 'basic':
      return { ...credential, password: map(credential.password) }
    case 's3':
      return { ...credential, secretKey: map(credential.secretKey), sessionToken: optional(credential.sessionToken) }
    case 'oidc': {
      const { client } = credential
      return {
        ...credential,
        accessToken: optional(credential.accessToken),
        refreshToken: optional(credential.refreshToken),
        client: client === undefined ? undefined : { ...client, clientSecret: optional(client.clientSecret) },
      }
    }
    case 'custom':
      return { ...credential, params: credential.params.map(({ name, value }) => ({ name, value: map(value) })) }
  }
}

/** A copy with secrets of its own. */
export function cloneCredential(credential: Credential): Credential {
  return mapSecrets(credential, (secret) => secret.clone())
}

export function wipeCredential(credential: Credential): void {
  mapSecrets(credential, (secret) => secret.wipe())
}
