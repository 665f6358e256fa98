import type { OutboxState } from '../../../mesh/mailbox/types.ts'
import type { Json, Nothing } from '../route.ts'

export interface ToldShown {
  readonly id: string
  readonly peer: string
  readonly name: string | null
  /** `waiting`: only here. `deposited`: a mailbox host of the peer keeps it. `delivered`: the peer has it. `expired`: it never arrived. */
  readonly state: OutboxState
  /** False when the peer's machine had no fresh key to seal to. */
  readonly forward_secret: boolean
}

export interface OutboxListed extends ToldShown {
  readonly time: string
  readonly expires_at: string
  readonly bytes: number
  /** Mailbox hosts that keep it. */
  readonly hosts: readonly string[]
  readonly last_error: string | null
}

/** A message that came. `text` is null where it is not text; `data` is base64. */
export interface MessageListed {
  readonly cursor: number
  readonly id: string
  readonly from: string
  readonly from_name: string | null
  readonly time: string
  readonly received_at: string
  readonly type: number
  readonly bytes: number
  readonly text: string | null
  readonly data: string
  readonly read: boolean
  /** The mailbox host it was fetched from. */
  readonly via: string | null
}

interface Named {
  readonly did: string
  readonly name: string | null
}

export interface MailboxShown {
  /** Peers that keep messages for this node while it is away. */
  readonly hosts: readonly Named[]
  /** Peers for whom this node does. */
  readonly hosting: readonly Named[]
  readonly kept: { readonly messages: number; readonly bytes: number }
  readonly inbox: { readonly messages: number; readonly unread: number; readonly bytes: number }
  /** Own messages that have not arrived yet. */
  readonly pending: number
}

/** Messages to peers who may be away, and who keeps them meanwhile. */
export interface MailApi {
  /** `data`: base64; what is UTF-8 is sent as text. Answers when the first attempts are over, at the latest after `wait_ms`. */
  'POST /v1/tell': Json<{ readonly peer: string; readonly data: string; readonly life_ms?: number; readonly wait_ms?: number }, ToldShown>
  'GET /v1/outbox': Json<{ readonly limit?: number }, { readonly messages: readonly OutboxListed[] }>
  'POST /v1/messages/read': Json<{ readonly cursors: readonly number[] }, { readonly read: number }>
  'POST /v1/messages/delete': Json<{ readonly id: string }, { readonly id: string; readonly deleted: true }>
  'GET /v1/mailbox': Json<Nothing, MailboxShown>
  'POST /v1/mailbox/host': Json<{ readonly peer: string }, MailboxShown>
  'POST /v1/mailbox/unhost': Json<{ readonly peer: string }, MailboxShown>
  'POST /v1/mailbox/use': Json<{ readonly peers: readonly string[] }, MailboxShown>
}
