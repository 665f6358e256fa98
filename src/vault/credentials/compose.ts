import { Secret } from '../../core/secret.ts'
import { checkCredential } from './check.ts'
import { invalid, MAX_PARAMS } from './limits.ts'
import { DEFAULT_REGION, DEFAULT_SIGNED } from './sign.ts'
import { type Credential, type CredentialType, wipeCredential } from './types.ts'

/** What may be said aloud of a credential: the fields of configuration and command line that are no secrets. */
export interface CredentialFields {
  readonly type: CredentialType
  /** Of an api-key. Default `x-api-key`. */
  readonly header?: string | undefined
  readonly username?: string | undefined
  readonly accessKey?: string | undefined
  /** What an s3 one signs for. Default `us-east-1` and `s3`. */
  readonly region?: string | undefined
  readonly signFor?: string | undefined
  readonly scheme?: string | undefined
  readonly tokenEndpoint?: string | undefined
  readonly clientId?: string | undefined
}

const DEFAULT_HEADER = 'x-api-key'
const NEWLINE = 0x0a
const RETURN = 0x0d
const EQUALS = 0x3d

/** Which fields a kind takes, and which of them it needs. */
const FIELDS: { readonly [T in CredentialType]: { readonly [F in keyof Omit<CredentialFields, 'type'>]?: 'needed' | 'optional' } } = {
  'api-key': { header: 'optional' },
  basic: { username: 'needed' },
  bearer: {},
  s3: { accessKey: 'needed', region: 'optional', signFor: 'optional' },
  oidc: { tokenEndpoint: 'optional', clientId: 'optional' },
  custom: { scheme: 'needed' },
}

/**
 * A credential of its open fields and its secret file, whose lines mean, by kind:
 *
 * ```text
 * api-key, bearer  the token                       s3      the secret key, the session token if there is one
 * basic            the password                    oidc    the access token (may be empty), the refresh token, the client secret
 * custom           NAME=VALUE, a parameter each
 * ```
 *
 * The file stays the caller's.
 * @throws KithError `CREDENTIAL_INVALID`, which never repeats anything of the file.
 */
export function composeCredential(fields: CredentialFields, file: Secret): Credential {
  checkFields(fields)
  const lines = linesOf(file)
  let credential: Credential | undefined
  try {
    credential = compose(fields, lines)
    checkCredential(credential)
    return credential
  } catch (error) {
    if (credential !== undefined) wipeCredential(credential)
    throw error
  } finally {
    for (const line of lines) line?.wipe()
  }
}

function compose(fields: CredentialFields, lines: readonly (Secret | undefined)[]): Credential {
  const { type } = fields
  switch (type) {
    case 'api-key':
      return { type, header: (fields.header ?? DEFAULT_HEADER).toLowerCase(), token: only(lines) }
    case 'bearer':
      return { type, token: only(lines) }
    case 'basic':
      return { type, username: fields.username ?? '', password: only(lines) }
    case 's3': {
      const [secretKey, sessionToken] = atMost(lines, 2)
      const { region, signFor } = fields
      const scope = region === undefined && signFor === undefined ? {} : { scope: { region: region ?? DEFAULT_REGION, service: signFor ?? DEFAULT_SIGNED } }
      return { type, accessKey: fields.accessKey ?? '', secretKey: needed(secretKey), sessionToken: sessionToken?.clone(), ...scope }
    }
    case 'oidc': {
      const [accessToken, refreshToken, clientSecret] = atMost(lines, 3)
      const { tokenEndpoint, clientId } = fields
      if ((tokenEndpoint === undefined) !== (clientId === undefined)) throw invalid('a token endpoint and a client id come together')
      if (clientSecret !== undefined && tokenEndpoint === undefined) throw invalid('a client secret is of use only with a token endpoint')
      const client = tokenEndpoint === undefined || clientId === undefined ? undefined : { tokenEndpoint, clientId, clientSecret: clientSecret?.clone() }
      return { type, accessToken: accessToken?.clone(), refreshToken: refreshToken?.clone(), client }
    }
    case 'custom': {
      const given = atMost(lines, MAX_PARAMS).map(needLine)
      // All of them are looked at before the first is copied.
      const names = given.map(nameOf)
      return { type, scheme: fields.scheme ?? '', params: given.map((line, i) => ({ name: names[i] ?? '', value: valueIn(line) })) }
    }
  }
}

/** A field that the kind does not have would be forgotten in silence; one that it needs and does not get is missed now. */
function checkFields({ type, ...fields }: CredentialFields): void {
  const known = FIELDS[type]
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && !Object.hasOwn(known, name)) throw invalid(`a ${type} credential has no ${spoken(name)}`)
  }
  for (const [name, need] of Object.entries(known)) {
    if (need === 'needed' && (fields as { readonly [name: string]: string | undefined })[name] === undefined)
      throw invalid(`a ${type} credential needs its ${spoken(name)}`)
  }
}

function spoken(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

/** Empty lines are `undefined`; those at the end do not count. */
function linesOf(file: Secret): readonly (Secret | undefined)[] {
  return file.use((bytes) => {
    const lines: (Secret | undefined)[] = []
    let from = 0
    for (let at = 0; at <= bytes.length; at++) {
      if (at < bytes.length && bytes[at] !== NEWLINE) continue
      const end = at > from && bytes[at - 1] === RETURN ? at - 1 : at
      lines.push(end > from ? Secret.take(new Uint8Array(bytes.subarray(from, end))) : undefined)
      from = at + 1
      // Nothing that is taken has more lines; what follows is only counted.
      if (lines.length > MAX_PARAMS + 1) break
    }
    while (lines.length > 0 && lines.at(-1) === undefined) lines.pop()
    return lines
  })
}

function only(lines: readonly (Secret | undefined)[]): Secret {
  return needed(atMost(lines, 1)[0])
}

function atMost(lines: readonly (Secret | undefined)[], limit: number): readonly (Secret | undefined)[] {
  if (lines.length === 0) throw invalid('the secret is empty')
  if (lines.length > limit) throw invalid(limit === 1 ? 'the secret is more than one line' : `the secret is more than ${limit} lines`)
  return lines
}

function needed(line: Secret | undefined): Secret {
  if (line === undefined) throw invalid('the first line of the secret is empty')
  return line.clone()
}

function needLine(line: Secret | undefined): Secret {
  if (line === undefined) throw invalid('a parameter is empty')
  return line
}

function nameOf(line: Secret): string {
  return line.use((bytes) => {
    const at = bytes.indexOf(EQUALS)
    if (at < 1 || at === bytes.length - 1) throw invalid('a parameter is written NAME=VALUE')
    return bytes.toString('latin1', 0, at)
  })
}

function valueIn(line: Secret): Secret {
  return line.use((bytes) => Secret.take(new Uint8Array(bytes.subarray(bytes.indexOf(EQUALS) + 1))))
}
