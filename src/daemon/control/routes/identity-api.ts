import type { ChainEntryView, IdentitySummary } from '../../identity/describe.ts'
import type { RotationReason } from '../../identity/rotate.ts'
import type { Json, Nothing, WithSecret } from '../route.ts'

export interface IdentityView {
  readonly summary: IdentitySummary
  readonly document: object
  readonly entries: readonly ChainEntryView[]
}

export interface IdentityApi {
  'GET /v1/identity': Json<Nothing, IdentityView>
  /** An identity was made, or here is the passphrase: the node starts what waited for it. */
  'POST /v1/identity/unlock': WithSecret<Nothing, { readonly did: string; readonly listen: readonly string[] }>
  /** Makes an identity in the home that this node holds. An empty body: without a passphrase. */
  'POST /v1/identity/create': WithSecret<{ readonly name?: string; readonly words?: number }, IdentitySummary>
  'POST /v1/identity/renew': WithSecret<Nothing, IdentitySummary>
  /** This machine's keys. */
  'POST /v1/identity/rotate': WithSecret<Nothing, IdentitySummary & { readonly previous_link_key: string }>
  /** The identity's keys; this machine's stay. */
  'POST /v1/identity/rotate-identity': WithSecret<{ readonly reason: RotationReason }, IdentitySummary>
}
