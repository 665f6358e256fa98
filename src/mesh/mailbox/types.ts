import type { Did } from '../../identity/did.ts'
import type { Waiting } from '../mesh-types.ts'
import type { Carrier } from '../messages/types.ts'

/**
 * How far a message has come. `waiting`: only here. `deposited`: a mailbox host of the peer keeps it. `delivered`: the peer itself has it durably. `expired`: its
 * time ran out before that.
 */
export type OutboxState = 'waiting' | 'deposited' | 'delivered' | 'expired'

export interface TellOptions extends Waiting {
  /** What the payload is; default `MESSAGE_TYPE.text` for text, 0x8000 for bytes. */
  readonly type?: number
  /** How long it is worth delivering, in ms. Default and most: 14 days. */
  readonly lifeMs?: number
  /** How long to wait for the first attempts, in ms. Default 10 s; 0 not at all. */
  readonly waitMs?: number
}

export interface Told {
  /** Message id, 32 hexadecimal digits. */
  readonly id: string
  readonly state: OutboxState
  /** False when some machine of the peer was sealed to without a prekey (`fs: none`). */
  readonly forwardSecret: boolean
}

export interface InboxEntry {
  /** Place in the inbox, for `after`. */
  readonly cursor: number
  readonly id: string
  readonly from: Did
  /** As the sender's clock said. */
  readonly timeMs: number
  readonly receivedMs: number
  readonly type: number
  readonly payload: Uint8Array
  /** The payload, when its type is `MESSAGE_TYPE.text`. */
  readonly text: string | undefined
  readonly read: boolean
  /** The mailbox host it was fetched from; undefined when it came directly. */
  readonly via: Did | undefined
}

export interface OutboxEntry {
  readonly cursor: number
  readonly id: string
  readonly to: Did
  readonly timeMs: number
  readonly expiresMs: number
  readonly type: number
  readonly bytes: number
  readonly state: OutboxState
  readonly forwardSecret: boolean
  /** Hosts of the peer that keep it. */
  readonly hosts: readonly Did[]
  /** Why the last attempt did not deliver it: an error code. */
  readonly lastError: string | undefined
}

export interface MailPage {
  /** Only what stands behind this cursor. */
  readonly after?: number
  /** Only what stands before this cursor, newest first; `Number.MAX_SAFE_INTEGER` begins with the newest. */
  readonly before?: number
  /** At most 1,000; default 100. */
  readonly limit?: number
}

export interface MailboxStatus {
  /** Peers whose messages this node agreed to keep. */
  readonly hosting: readonly Did[]
  /** Peers that keep messages for this node. */
  readonly hosts: readonly Did[]
  /** What is kept for others. */
  readonly kept: { readonly messages: number; readonly bytes: number }
  readonly inbox: { readonly messages: number; readonly unread: number; readonly bytes: number }
  /** Messages that have not arrived yet. */
  readonly pending: number
}

/** Messages for peers who may be offline (PN-9). */
export interface Mail extends AsyncDisposable {
  /**
   * Seals a message to all machines of a peer and sends it: to the machines that are linked or can be, else to the peer's mailbox hosts, again and again until it
   * expires. It is durable here before anything is sent; aborting ends the waiting, not the message.
   * @throws TypeError. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`, `SELF_DIAL`, `MESSAGE_TOO_LARGE`, `OUTBOX_FULL`, `DOWNGRADE_REFUSED`, `STORE_FAILED`.
   */
  tell(peer: string, message: string | Uint8Array, options?: TellOptions): Promise<Told>
  /** Messages that came, oldest first. @throws TypeError. @throws KithError `STORE_FAILED`. */
  inbox(page?: MailPage): Promise<readonly InboxEntry[]>
  /** Cursors of the messages in the inbox whose id begins so. */
  find(idPrefix: string): readonly number[]
  /** Messages that were told, oldest first. @throws TypeError. */
  outbox(page?: MailPage): readonly OutboxEntry[]
  /** Called once for each message after it is durable. A listener that throws is logged. Returns the way to stop. */
  onMessage(listener: (entry: InboxEntry) => void): () => void
  /** @throws KithError `NOT_FOUND`, `STORE_FAILED`. */
  markRead(cursor: number): Promise<void>
  /** @throws KithError `NOT_FOUND`, `STORE_FAILED`. */
  delete(cursor: number): Promise<void>
  /** Agrees to keep messages for a peer that names this node in its record. The owner's rules on `mailbox` come first. */
  host(peer: string): Promise<void>
  /** Takes nothing more in for a peer; what is kept can be fetched until it expires. */
  unhost(peer: string): Promise<void>
  /** Names the peers, at most three, that keep messages for this node. @throws TypeError. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  useHosts(peers: readonly string[]): Promise<void>
  status(): MailboxStatus
  /** A peer record that came by gossip. Returns whether it is news. @throws as `Messages.verifyRecord`. */
  learnRecord(bytes: Uint8Array, carrier?: Carrier): Promise<boolean>
  /** A machine was revoked: what it published for sealing to it is dropped. @throws KithError `STORE_FAILED`. */
  forgetDevice(did: Did, device: Uint8Array): Promise<void>
  /** This machine's record to publish: a record envelope. @throws KithError `STORE_FAILED`. */
  ownRecord(): Promise<Uint8Array>
  /** Whether this node agreed to keep messages for a peer, before any rule of the owner: the default decision of the action `mailbox`. */
  hosts(peer: Did): boolean
  /** Serves, delivers and fetches from now on. @throws KithError `STORE_FAILED`. */
  start(): Promise<void>
  close(): Promise<void>
}
