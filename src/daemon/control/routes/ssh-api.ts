import type { SshSessionView } from '../../../ssh/door.ts'
import type { SshStatus } from '../../services/ssh.ts'
import type { Json, Nothing } from '../route.ts'

export interface SshApi {
  /** Null while the door is closed. */
  'GET /v1/ssh': Json<Nothing, { readonly ssh: SshStatus | null }>
  'GET /v1/ssh/sessions': Json<Nothing, { readonly sessions: readonly SshSessionView[] }>
  'POST /v1/ssh/close': Json<{ readonly id: number }, { readonly id: number; readonly closed: true }>
}
