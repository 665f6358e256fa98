import type { SshSessionView } from '../../../ssh/door.ts'
import type { SshStatus } from '../../services/ssh.ts'
import type { SshUserKeyView } from '../../services/ssh-forward.ts'
import type { Json, Nothing } from '../route.ts'

export interface SshApi {
  /** Null while the door is closed. */
  'GET /v1/ssh': Json<Nothing, { readonly ssh: SshStatus | null }>
  /** How this node logs in elsewhere. */
  'GET /v1/ssh/key': Json<Nothing, SshUserKeyView>
  'GET /v1/ssh/sessions': Json<Nothing, { readonly sessions: readonly SshSessionView[] }>
  'POST /v1/ssh/close': Json<{ readonly id: number }, { readonly id: number; readonly closed: true }>
}
