import { utf8 } from '../../core/bytes.ts'
import { bytes, type Codec, constant, decode, encode, list, malformed, mapped, option, struct, text, u8 } from '../../core/codec.ts'
import { isKithError, KithError } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'
import { checkCredential } from './check.ts'
import { checkKey, checkOrigins, invalid, MAX_NAME_BYTES, MAX_ORIGINS, MAX_PARAMS, MAX_SECRET_BYTES, MAX_URL_BYTES, parseOrigin } from './limits.ts'
import { CREDENTIAL_TYPES, type Credential, type CredentialKey, type CredentialType, mapSecrets, type S3Scope, wipeCredential } from './types.ts'

/**
 * # What is sealed
 *
 * A credential with its secrets, as the vault encrypts it. Whose it is and where it may be sent stand inside: a row that somebody moved under another name in the
 * store does not become the credential of that name, and no change of a row sends it elsewhere.
 *
 * ```text
 * content = "icn/credential/v1" || text service || text did ("" for any) || list<text origin> || u8 type || body
 *
 * 0 api-key  text header   || secret token
 * 1 basic    text username || secret password
 * 2 bearer   secret token
 * 3 s3       text access key || secret secret key || option<secret session token>
 * 4 oidc     option<secret access token> || option<secret refresh token> || option<text token endpoint || text client id || option<secret client secret>>
 * 5 custom   text scheme || list<text name || secret value>
 * 6 s3       as 3 || text region || text service
 *
 * secret = varint length (1..8192) || bytes
 * ```
 */
/** What was encrypted for another purpose with the same key is not taken for a credential. */
const LABEL: Uint8Array = utf8('icn/credential/v1')
/** Sixteen parameters of the greatest size would be more than anybody sends. */
export const MAX_CONTENT_BYTES = 65_536

/** While it is read or written a secret is plain bytes, which are zeroed at once afterwards. */
const secret: Codec<Uint8Array> = { ...bytes(MAX_SECRET_BYTES), min: 2, read: (reader) => nonEmpty(bytes(MAX_SECRET_BYTES).read(reader)) }
const name = text(MAX_NAME_BYTES)
const client = struct<{ tokenEndpoint: string; clientId: string; clientSecret: Uint8Array | undefined }>({
  tokenEndpoint: text(MAX_URL_BYTES),
  clientId: name,
  clientSecret: option(secret),
})

type Raw = Credential<Uint8Array>
type Body<T extends CredentialType> = Omit<Extract<Raw, { type: T }>, 'type'>

const s3Keys = struct<Omit<Body<'s3'>, 'scope'>>({ accessKey: name, secretKey: secret, sessionToken: option(secret) })
const s3Scope = struct<S3Scope>({ region: name, service: name })

/** An S3 key that signs for a place of its own. */
const scoped: Codec<Body<'s3'> & { readonly scope: S3Scope }> = {
  min: s3Keys.min + s3Scope.min,
  max: s3Keys.max + s3Scope.max,
  size: ({ scope, ...keys }) => s3Keys.size(keys) + s3Scope.size(scope),
  write(writer, { scope, ...keys }) {
    s3Keys.write(writer, keys)
    s3Scope.write(writer, scope)
  },
  read: (reader) => ({ ...s3Keys.read(reader), scope: s3Scope.read(reader) }),
}
const SCOPED_KIND = CREDENTIAL_TYPES.length

const BODIES: { readonly [T in CredentialType]: Codec<Body<T>> } = {
  'api-key': struct<Body<'api-key'>>({ header: name, token: secret }),
  basic: struct<Body<'basic'>>({ username: name, password: secret }),
  bearer: struct<Body<'bearer'>>({ token: secret }),
  s3: s3Keys,
  oidc: struct<Body<'oidc'>>({ accessToken: option(secret), refreshToken: option(secret), client: option(client) }),
  custom: struct<Body<'custom'>>({ scheme: name, params: list(struct<{ name: string; value: Uint8Array }>({ name, value: secret }), MAX_PARAMS) }),
}

/** One byte: the place in `CREDENTIAL_TYPES`. */
export const typeCodec: Codec<CredentialType> = mapped(
  u8,
  (value) => {
    const type = CREDENTIAL_TYPES[value]
    if (type === undefined) throw unknownKind()
    return type
  },
  (type) => CREDENTIAL_TYPES.indexOf(type),
)

/** A version byte that is checked where it is read. */
export function versionCodec(version: number): Codec<undefined> {
  return mapped(
    u8,
    (value) => {
      if (value !== version) throw malformed('a version that is not known')
      return undefined
    },
    () => version,
  )
}

/** Service and identity; no identity is the empty text. */
export const keyCodec: Codec<CredentialKey> = mapped(
  struct<{ service: string; did: string }>({ service: text(64), did: text(128) }),
  ({ service, did }) => (did === '' ? { service } : { service, did }),
  ({ service, did = '' }) => ({ service, did }),
)

/** Each in its canonical form. */
export const originsCodec: Codec<readonly string[]> = list(
  mapped(
    text(MAX_URL_BYTES),
    (value) => {
      if (parseOrigin(value) !== value) throw malformed('an origin that is none')
      return value
    },
    (value) => value,
  ),
  MAX_ORIGINS,
)

interface Head {
  readonly _label: undefined
  readonly key: CredentialKey
  readonly origins: readonly string[]
  /** Place in `CREDENTIAL_TYPES`, or `SCOPED_KIND`. */
  readonly kind: number
}

const head = struct<Head>({ _label: constant(...LABEL), key: keyCodec, origins: originsCodec, kind: u8 })

/** A credential, whose it is, and where alone it may be sent. */
export interface CredentialContent<S = Secret> {
  readonly key: CredentialKey
  readonly origins: readonly string[]
  readonly credential: Credential<S>
}

const contentCodec: Codec<CredentialContent<Uint8Array>> = {
  min: head.min + 2,
  max: MAX_CONTENT_BYTES,
  size: (content) => head.size(headOf(content)) + bodyOf(kindOf(content.credential)).size(content.credential),
  write(writer, content) {
    head.write(writer, headOf(content))
    bodyOf(kindOf(content.credential)).write(writer, content.credential)
  },
  read(reader) {
    const { key, origins, kind } = head.read(reader)
    const type = kind === SCOPED_KIND ? 's3' : CREDENTIAL_TYPES[kind]
    if (type === undefined) throw unknownKind()
    return { key, origins, credential: { ...bodyOf(kind).read(reader), type } as Raw }
  },
}

function kindOf(credential: Raw): number {
  return credential.type === 's3' && credential.scope !== undefined ? SCOPED_KIND : CREDENTIAL_TYPES.indexOf(credential.type)
}

function bodyOf(kind: number): Codec<Raw> {
  return (kind === SCOPED_KIND ? scoped : BODIES[CREDENTIAL_TYPES[kind] as CredentialType]) as unknown as Codec<Raw>
}

function unknownKind(): KithError {
  return malformed('a kind of credential that is not known')
}

function headOf({ key, origins, credential }: CredentialContent<Uint8Array>): Head {
  return { _label: undefined, key, origins, kind: kindOf(credential) }
}

function nonEmpty(content: Uint8Array): Uint8Array {
  if (content.length === 0) throw malformed('an empty secret')
  return content
}

/** @throws KithError `CREDENTIAL_INVALID` for what is beyond the limits. */
export function encodeContent(content: CredentialContent): Secret {
  const { key, origins, credential } = content
  checkKey(key)
  checkOrigins(origins)
  checkCredential(credential)
  const raw = mapSecrets(credential, (value) => value.use((bytes) => new Uint8Array(bytes)))
  try {
    const value = { key, origins, credential: raw }
    if (contentCodec.size(value) > MAX_CONTENT_BYTES) throw invalid(`all of it together is at most ${MAX_CONTENT_BYTES} bytes`)
    return Secret.take(encode(contentCodec, value))
  } finally {
    mapSecrets(raw, (bytes) => bytes.fill(0))
  }
}

/** Opens what `encodeContent` made; the caller wipes the credential. @throws KithError `CREDENTIAL_INVALID`. */
export function decodeContent(content: Secret): CredentialContent {
  let credential: Credential | undefined
  try {
    const raw = content.use((source) => decode(contentCodec, source))
    credential = mapSecrets(raw.credential, (value) => Secret.take(value))
    checkKey(raw.key)
    checkCredential(credential)
    return { ...raw, credential }
  } catch (cause) {
    if (credential !== undefined) wipeCredential(credential)
    if (isKithError(cause, 'WIRE_MALFORMED') || isKithError(cause, 'CREDENTIAL_INVALID')) throw unreadable(cause)
    throw cause
  }
}

/** What is in the store is not of the form that this version writes. */
export function unreadable(cause: unknown): KithError {
  const reason = cause instanceof Error ? cause.message : 'damaged'
  return new KithError('CREDENTIAL_INVALID', 'A stored credential is damaged, or of a later version.', {
    details: { reason },
    next: 'kith credential add SERVICE --replace',
    cause,
  })
}
