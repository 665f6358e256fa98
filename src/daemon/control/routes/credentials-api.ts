import type { CredentialType } from '../../../vault/credentials/types.ts'
import type { CredentialView } from '../../credentials/acts.ts'
import type { Json, Nothing, WithSecret } from '../route.ts'

export interface CredentialQuery {
  readonly service: string
  readonly did?: string
}

export interface AddedCredential extends CredentialQuery {
  readonly type: CredentialType
  readonly header?: string
  readonly username?: string
  readonly access_key?: string
  readonly region?: string
  readonly sign_for?: string
  readonly scheme?: string
  readonly token_endpoint?: string
  readonly client_id?: string
  /** Separated by spaces. */
  readonly origins?: string
  readonly expires_at?: string
  readonly replace?: 'yes'
}

/** What is known of credentials, and new ones. None of the routes gives a secret out. */
export interface CredentialsApi {
  'GET /v1/credentials': Json<Nothing, { readonly credentials: readonly CredentialView[] }>
  /** The secret file, sealed. */
  'POST /v1/credentials/add': WithSecret<AddedCredential, CredentialView>
  'POST /v1/credentials/remove': Json<CredentialQuery, { readonly removed: true }>
}
