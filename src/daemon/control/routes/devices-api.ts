import type { RevocationReason } from '../../../identity/device-document.ts'
import type { DeviceView, RequestView } from '../../devices/views.ts'
import type { IdentitySummary } from '../../identity/describe.ts'
import type { Json, Nothing, WithSecret } from '../route.ts'

export interface DevicesApi {
  'GET /v1/devices': Json<Nothing, { readonly devices: readonly DeviceView[]; readonly holds_identity: boolean }>
  /** Reads a request (`identity/device-text.ts`), to be approved by its id. */
  'POST /v1/devices/show': Json<{ readonly request: string }, RequestView>
  'POST /v1/devices/approve': WithSecret<{ readonly id: string; readonly name?: string; readonly capabilities?: string }, { readonly grant: readonly string[] }>
  'POST /v1/devices/approve-waiting': WithSecret<Nothing, { readonly renewed: readonly string[] }>
  'POST /v1/devices/revoke': WithSecret<{ readonly device: string; readonly reason: RevocationReason }, { readonly link_key: string; readonly name: string }>
  /** Where the identity is elsewhere: asks the machines that are linked. */
  'POST /v1/devices/renew': Json<Nothing, IdentitySummary>
  'POST /v1/devices/renewal-request': Json<Nothing, { readonly request: readonly string[]; readonly code: string }>
  'POST /v1/devices/take-renewal': Json<{ readonly grant: string }, IdentitySummary>
}
