import type { Secret } from '../../core/secret.ts'
import { invalid, isFieldText, isHeaderName, isPlainName, isSafeUrl, isToken, MAX_PARAMS, MAX_SECRET_BYTES, MAX_URL_BYTES } from './limits.ts'
import { type Credential, mapSecrets, type OidcClient, type S3Scope } from './types.ts'

/** Holds a credential to what can be sent for it. @throws KithError `CREDENTIAL_INVALID`, which names the field and never its value. */
export function checkCredential(credential: Credential): void {
  mapSecrets(credential, checkLength)
  switch (credential.type) {
    case 'api-key':
      if (!isHeaderName(credential.header)) throw invalid('its header is not a lower-case name that a credential may have')
      inHeader(credential.token, 'token')
      return
    case 'bearer':
      inHeader(credential.token, 'token')
      return
    case 'basic':
      if (!isPlainName(credential.username) || credential.username.includes(':')) throw invalid('its user name is empty, too long or has a colon in it')
      return
    case 's3':
      if (!/^[A-Za-z0-9_-]{1,128}$/.test(credential.accessKey)) throw invalid('its access key has letters, digits, dashes and underscores only')
      if (credential.sessionToken !== undefined) inHeader(credential.sessionToken, 'session token')
      if (credential.scope !== undefined) checkScope(credential.scope)
      return
    case 'oidc':
      checkOidc(credential)
      return
    case 'custom': {
      if (!isToken(credential.scheme)) throw invalid('its scheme is not a token of letters, digits and dashes')
      const names = new Set(credential.params.map(({ name }) => name.toLowerCase()))
      if (names.size !== credential.params.length || names.size < 1 || names.size > MAX_PARAMS) throw invalid(`it has 1 to ${MAX_PARAMS} parameters, each once`)
      for (const { name, value } of credential.params) {
        if (!isToken(name)) throw invalid('the name of a parameter is not a token')
        inHeader(value, 'parameter')
      }
    }
  }
}

/** Neither has a slash: they are parts of one text that is signed. */
function checkScope({ region, service }: S3Scope): void {
  for (const [what, text] of [
    ['region', region],
    ['service that it signs for', service],
  ] as const)
    if (!/^[a-z0-9-]{1,64}$/.test(text)) throw invalid(`its ${what} has lower-case letters, digits and dashes only`)
}

function checkOidc({ accessToken, refreshToken, client }: Extract<Credential, { type: 'oidc' }>): void {
  if (accessToken === undefined && refreshToken === undefined) throw invalid('it has neither an access token nor a refresh token')
  if (accessToken !== undefined) inHeader(accessToken, 'access token')
  if (refreshToken !== undefined) inHeader(refreshToken, 'refresh token')
  if (client !== undefined) checkClient(client)
  else if (refreshToken !== undefined) throw invalid('a refresh token is of use only with a token endpoint')
}

function checkClient({ tokenEndpoint, clientId }: OidcClient): void {
  const url = tokenEndpoint.length <= MAX_URL_BYTES && URL.canParse(tokenEndpoint) ? new URL(tokenEndpoint) : undefined
  const plain = url !== undefined && url.username === '' && url.password === '' && url.hash === ''
  if (!plain || !isSafeUrl(url)) throw invalid('its token endpoint is not an https address, or http on this machine')
  if (!isPlainName(clientId)) throw invalid('its client id is empty or too long')
}

function checkLength(secret: Secret): void {
  if (secret.length > MAX_SECRET_BYTES) throw invalid(`a secret is at most ${MAX_SECRET_BYTES} bytes`)
}

function inHeader(secret: Secret, what: string): void {
  if (!secret.use(isFieldText)) throw invalid(`its ${what} has characters that cannot stand in a header`)
}
