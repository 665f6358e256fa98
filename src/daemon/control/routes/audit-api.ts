import type { Json } from '../route.ts'

export interface AuditListed {
  readonly seq: number
  readonly time: string
  readonly actor: string
  readonly action: string
  readonly subject: string
  /** What the address book calls the subject. */
  readonly name: string | null
  readonly reason: string
  readonly details: Readonly<Record<string, string | number | boolean>>
  readonly hash: string
}

export interface AuditVerified {
  readonly ok: boolean
  readonly rows: number
  /** Number of the first and the last row kept. */
  readonly first: number
  readonly last: number
  /** Hash of the last row, in hex; kept elsewhere it shows later whether rows were taken away or put back. */
  readonly head: string
  readonly broken_at: number | null
}

/** What was done here, by whom and why; newest first. */
export interface AuditApi {
  'GET /v1/audit': Json<{ readonly limit?: number; readonly before?: number }, { readonly rows: readonly AuditListed[] }>
  /** `noted`: a head that was kept, as `NUMBER:HASH`. */
  'POST /v1/audit/verify': Json<{ readonly noted?: string }, AuditVerified>
}
