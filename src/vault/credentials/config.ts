import type { Secret } from '../../core/secret.ts'
import { type CredentialFields, composeCredential } from './compose.ts'
import type { CredentialInfo, CredentialKey, CredentialProvider } from './types.ts'

/** A credential that a configuration describes. Its secret is elsewhere. */
export interface ConfiguredCredential {
  readonly key: CredentialKey
  readonly fields: CredentialFields
  readonly origins: readonly string[]
  /** Where the secret is: a file, or the name of a credential that the service manager hands over. */
  readonly secret: { readonly file: string } | { readonly credential: string }
}

export interface ConfigCredentialsOptions {
  /** Asked each time: a configuration may change. */
  readonly configured: () => readonly ConfiguredCredential[]
  /** Reads a secret; the caller wipes it. @throws KithError `CREDENTIAL_INVALID`, `HOME_UNSAFE`. */
  readonly read: (secret: ConfiguredCredential['secret']) => Secret
}

/** Credentials named in the configuration. Their files are read anew each time: putting another file there is a rotation. */
export function configCredentials({ configured, read }: ConfigCredentialsOptions): CredentialProvider {
  return {
    name: 'config',
    async get(key) {
      const found = configured().find((entry) => entry.key.service === key.service && entry.key.did === key.did)
      if (found === undefined) return undefined
      const secret = read(found.secret)
      try {
        return { credential: composeCredential(found.fields, secret), info: infoOf(found) }
      } finally {
        secret.wipe()
      }
    },
    list: async () => configured().map(infoOf),
  }
}

function infoOf({ key, fields, origins }: ConfiguredCredential): CredentialInfo {
  const unknown = { createdMs: undefined, changedMs: undefined, expiresMs: undefined }
  return { ...key, ...unknown, type: fields.type, source: 'config', origins, revision: 1, renews: false }
}
