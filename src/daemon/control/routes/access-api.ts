import type { AccessView, ApiKeyView, GrantView } from '../../access/views.ts'
import type { Json, Nothing } from '../route.ts'

interface Rights {
  readonly scopes?: readonly string[]
  /** `NAME=ACTION`, for resources. */
  readonly resources?: readonly string[]
}

/** How many of those who came in would not any more; with `disconnect_revoked` their connections were ended. */
interface Taken {
  readonly revoked: number
  readonly disconnected: boolean
}

/** Who may come in by which door, and what they may. */
export interface AccessApi {
  'GET /v1/access': Json<Nothing, AccessView>
  /** `key` is shown this once. `until`: RFC 3339 or a date. */
  /** `rules`: those that name such a key already. */
  'POST /v1/access/key/add': Json<
    Rights & { readonly name: string; readonly until?: string },
    { readonly key: string; readonly api_key: ApiKeyView; readonly rules: readonly string[] }
  >
  /** `rules_removed`: what allowed the name something, and went with it. `rules_left`: the same of the configuration, which stays. */
  'POST /v1/access/key/revoke': Json<
    { readonly name: string; readonly disconnect_revoked?: boolean },
    Taken & { readonly rules_removed: readonly string[]; readonly rules_left: readonly string[] }
  >
  /** `principal`: also the name of a peer. `as`: the peer whose key it is. */
  'POST /v1/access/grant': Json<Rights & { readonly principal: string; readonly as?: string }, { readonly grant: GrantView }>
  /** Without scopes everything that was granted by command. */
  'POST /v1/access/revoke': Json<{ readonly principal: string; readonly scopes?: readonly string[]; readonly disconnect_revoked?: boolean }, Taken>
  /** `line`: as in `authorized_keys`. */
  'POST /v1/access/ssh/add': Json<{ readonly line: string }, { readonly fingerprint: string; readonly authority: boolean }>
  'POST /v1/access/ssh/remove': Json<{ readonly fingerprint: string; readonly disconnect_revoked?: boolean }, Taken>
  /** `line`: as in a revocation list. */
  'POST /v1/access/ssh/revoke': Json<{ readonly line: string; readonly disconnect_revoked?: boolean }, Taken>
  'POST /v1/access/token': Json<{ readonly audience?: string }, { readonly token: string }>
}
