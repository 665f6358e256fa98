import type { InboxEntry } from '../../../files/index.ts'
import type { ServedStatus, SocksOpened, TunnelStatus } from '../../../tunnel/index.ts'
import type { Json, Lines, Nothing } from '../route.ts'
import type { MessageListed } from './mail-api.ts'

/** A forward with the name its peer has in the address book. */
export interface TunnelListed extends TunnelStatus {
  readonly name: string | null
}

/** What a peer reaches through this node, with the name it has in the address book. */
export interface ServedListed extends ServedStatus {
  readonly name: string | null
}

export interface InboxListed extends InboxEntry {
  /** What the address book calls the sender now. */
  readonly from_name: string | null
}

export interface Inbox {
  /** The directory. */
  readonly inbox: string
  /** Newest first. */
  readonly files: readonly InboxListed[]
  /** Newest first. */
  readonly messages: readonly MessageListed[]
  /** Older ones that are not listed, for their number or their size. */
  readonly older_messages: number
}

/** One line while a file is on its way; the last one is `stored`. */
export type SendLine =
  | { readonly event: 'progress'; readonly bytes: number; readonly total_bytes: number; readonly resumed_bytes: number }
  | ({ readonly event: 'stored' } & Sent)

export interface Sent {
  readonly bytes: number
  readonly sha256: string
  readonly duration_ms: number
  /** What it is called in the other side's inbox. */
  readonly name: string
  /** How much of it was there already. */
  readonly resumed: number
  /** Peers that gave some of it, this node included. */
  readonly providers: number
}

/** Port forwards and files. `peer` is a DID, a unique prefix of one, or a name. */
export interface ServicesApi {
  /** `peer` may be an SSH server, `ssh://USER@HOST[:PORT]`, known by a file or a fingerprint; paths are absolute. */
  'POST /v1/forwards': Json<
    {
      readonly peer: string
      readonly target: string
      readonly local?: string
      readonly allow_public_bind?: boolean
      readonly save?: string
      readonly known_hosts?: string
      readonly host_key?: string
      readonly key_file?: string
    },
    TunnelListed
  >
  'POST /v1/forwards/remote': Json<{ readonly peer: string; readonly remote: string; readonly to: string; readonly save?: string }, TunnelListed>
  'POST /v1/socks': Json<
    { readonly peer: string; readonly local?: string; readonly allow_public_bind?: boolean; readonly save?: string },
    TunnelListed & Pick<SocksOpened, 'password'>
  >
  'GET /v1/tunnels': Json<Nothing, { readonly tunnels: readonly TunnelListed[]; readonly serving: readonly ServedListed[] }>
  'POST /v1/tunnels/close': Json<{ readonly id: string; readonly forget?: boolean }, { readonly id: string; readonly closed: true; readonly saved: boolean }>
  /** `path` is absolute. The transfer ends when the caller goes away; what arrived stays there for `resume`. */
  'POST /v1/send': Lines<{ readonly peer: string; readonly path: string; readonly resume?: boolean }, SendLine>
  'GET /v1/inbox': Json<{ readonly limit?: number }, Inbox>
}
