import type { Duplex } from 'node:stream'
import type { IdentitySource } from '../access/sources.ts'
import type { TrustDesk } from '../assembly/trust-desk.ts'
import type { AnyOperation, InputOf, OutputOf } from '../call/define.ts'
import type { Audit } from '../core/observe/audit.ts'
import type { Secret } from '../core/secret.ts'
import type { InboxEntry, SendProgress, SendResult } from '../files/index.ts'
import type { GossipEntry, SubscribeOptions, TopicOptions, TopicStatus } from '../gossip/types.ts'
import type { BookPeer } from '../mesh/address-book.ts'
import type { MailboxStatus, InboxEntry as MailMessage, MailPage, TellOptions, Told } from '../mesh/mailbox/types.ts'
import type { Joined, MeshPolicy, PeerBook } from '../mesh/mesh-types.ts'
import type { ChainStanding, Explanation, LinkEvent, PeerClass, ProtocolOptions, StreamHandler } from '../mesh/types.ts'
import type { NodeEvent } from './events.ts'
import type { OwnCallOptions, ReachableOperation } from './services/calls.ts'
import type { WorkerPhase } from './services/worker-registrations.ts'
import type { NodeStatus } from './status.ts'

export interface NodeOptions {
  /** Directory of the node's files; made when it is missing. One process at a time uses it. */
  readonly home: string
  /** Opens the keys. Absent: `ICN_KEYSTORE_PASSPHRASE`, the systemd credential, or a random one kept outside the home. */
  readonly passphrase?: string | Uint8Array | Secret
  /** Addresses to listen on, as `tcp://127.0.0.1:0`. Default: the configuration's, else the peer port on all interfaces. */
  readonly listen?: readonly string[]
  /** What peers call this machine, when its identity is made now. */
  readonly name?: string
  /** Whether to make an identity when the home has none. Default true. */
  readonly create?: boolean
  /** Whether to start at once. Default true. */
  readonly start?: boolean
  /** Whether the command line can reach this node by its home. Default true. */
  readonly control?: boolean
  /** Where settings (`KITH_*`), a passphrase and the state directory are looked up. Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv
  /** Further sources of who comes in by keys, asked behind configuration and store: a directory, a list on a chain. */
  readonly identitySources?: readonly IdentitySource[]
}

export interface InviteOptions {
  /** Default `known`. Above it the class waits for `confirm`. */
  readonly class?: Exclude<PeerClass, 'isolated'>
  /** Default 10 minutes. */
  readonly expiresMs?: number
  /** Default 1. */
  readonly uses?: number
  /** The class takes effect without comparing words. */
  readonly trustTicket?: boolean
}

export interface NodeForwardOptions extends Waiting {
  /** DID, unique prefix of one, or name; or an SSH server, `ssh://USER@HOST[:PORT]`. */
  readonly peer: string
  /** `HOST:PORT` or `unix:/path` as seen from the other machine; an IPv6 address stands in brackets. */
  readonly target: string
  /** `HOST:PORT` or `unix:/path` here. Default: 127.0.0.1 with the target's port, or any free one when that is taken. */
  readonly local?: string
  /** Listen beyond loopback. Default false. */
  readonly allowPublicBind?: boolean
  /** For an SSH server: the file that says its key. Absolute. Default `~/.ssh/known_hosts`. */
  readonly knownHosts?: string
  /** For an SSH server: the fingerprint of its key, `SHA256:...`. */
  readonly hostKey?: string
  /** For an SSH server: an Ed25519 key without passphrase, absolute, with its certificate in `FILE-cert.pub`. Default: the node's own from the vault. */
  readonly keyFile?: string
}

export interface NodeRemoteForwardOptions extends Waiting {
  readonly peer: string
  /** Where the peer listens: `HOST:PORT` with an address of its machine, port 0 for any free one, or `unix:/path`. */
  readonly remote: string
  /** What connections that arrive there reach on this side: `HOST:PORT` or `unix:/path`. */
  readonly to: string
}

export interface NodeSocksOptions extends Waiting {
  /** Where connections leave whose client chooses no other peer. */
  readonly peer: string
  /** `HOST:PORT` or `unix:/path` here. Default `127.0.0.1:1080`. */
  readonly local?: string
}

/** A port of this machine that ends on another, or the other way round. Disposing it closes it. */
export interface NodeForward extends AsyncDisposable {
  readonly id: string
  /** Where programs on this machine connect, as `HOST:PORT`. */
  readonly address: string
  /** Stops listening and ends its connections. Idempotent. */
  close(): Promise<void>
}

export interface NodeSendOptions extends Waiting {
  /** Go on where an interrupted transfer of the same file stopped. Default false: start over. */
  readonly resume?: boolean
  /** Called after each chunk of 1 MiB, with sizes in bytes. */
  onProgress?(progress: SendProgress): void
}

export interface Waiting {
  readonly signal?: AbortSignal
}

/** Operations of this node at a head. */
export interface NodeRegistration extends AsyncDisposable {
  /** `registered`, or why not yet. */
  readonly phase: WorkerPhase
  /** Takes no new calls of that head and lets those that run end, 10 s at most. Idempotent. */
  close(): Promise<void>
}

export interface NodeTopics {
  /** Takes part in a topic from now on, also after a restart. The same again changes nothing. @throws TypeError. @throws KithError `TOPIC_EXISTS`, `TOPIC_LIMIT`. */
  create(options: TopicOptions): Promise<void>
  /** Forgets a topic and what is kept of it here. @throws KithError `TOPIC_UNKNOWN`. */
  remove(name: string): Promise<void>
  list(): readonly TopicStatus[]
}

export interface NodeMailbox {
  /** Agrees to keep sealed messages for a peer that names this node. */
  host(peer: string): Promise<void>
  unhost(peer: string): Promise<void>
  /** Names the peers, at most three, that keep messages for this node. @throws TypeError. */
  use(peers: readonly string[]): Promise<void>
  status(): MailboxStatus
}

/** What `node.on` tells: links that come, move and go; pairings; warnings; messages; and the node's own state. */
export interface NodeEvents {
  message: Extract<NodeEvent, { type: 'message' }>
  link: Extract<LinkEvent, { type: 'up' | 'down' | 'moved' }>
  paired: Extract<LinkEvent, { type: 'paired' }>
  warning: Extract<LinkEvent, { type: 'warning' }>
  state: Extract<NodeEvent, { type: 'ready' | 'degraded' | 'stopping' }>
}

/**
 * One node: an identity, its links, its peers and its rules. Two in one process share nothing.
 *
 * Every method that waits takes `{ signal }`. While the node has no identity or its keys are locked, what needs them throws `IDENTITY_MISSING` or
 * `IDENTITY_LOCKED`; `status()` always answers.
 */
export interface Node extends AsyncDisposable {
  /** `did:icn:z...` @throws KithError `IDENTITY_MISSING`. */
  readonly did: string
  /** Where others reach this node. Empty while it does not run. */
  readonly addresses: readonly string[]
  readonly policy: MeshPolicy
  /** How far peers are trusted, why, and what is held against them. */
  readonly trust: TrustDesk
  /** Topics of this node: an entry reaches those who made the same topic. */
  readonly topics: NodeTopics
  /** Who keeps messages while a machine is away: for this node, and this node for others. */
  readonly mailbox: NodeMailbox
  /** What was done here, by whom and why. */
  readonly audit: Pick<Audit, 'list' | 'verify'>
  /** The address book. */
  readonly peers: Omit<PeerBook, 'get' | 'onChange'>
  /** Starts what `start: false` left. Idempotent. @throws KithError what keeps the node from running. */
  start(): Promise<void>
  /** A ticket for one pairing: whoever has it may use it. @throws TypeError. @throws KithError `ADDRESS_INVALID` when the node listens nowhere. */
  invite(options?: InviteOptions): Promise<string>
  /** Pairs with the node that made the ticket. @throws KithError `INVITE_INVALID`, `INVITE_REFUSED`, `PEER_UNREACHABLE`, `ABORTED`. */
  join(ticket: string, options?: Waiting & { readonly name?: string }): Promise<Joined>
  /** The words matched: the pending class takes effect. @throws KithError `CONFIRM_NOTHING`, `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  confirm(peer: string): Promise<BookPeer>
  /**
   * Vouches for the keys of a peer as they are known here: its class counts above Known from then on. `head` is what its owner read out, 16 digits or more.
   * @throws TypeError. @throws KithError `NOT_FOUND`, `WRONG_PEER`, `CHAIN_FORKED`, `PEER_UNKNOWN`, `PEER_AMBIGUOUS`.
   */
  anchor(peer: string, options?: { readonly head?: string }): Promise<ChainStanding>
  /** Chooses between two contradicting histories of a peer's keys by an entry of the true one. @throws TypeError. @throws KithError `CONFIRM_NOTHING`, `NOT_FOUND`. */
  repin(peer: string, head: string): Promise<ChainStanding>
  /**
   * Serves a protocol on streams of peers; the returned function ends that. Open to peers in the address book unless `options.access` says otherwise.
   * @throws TypeError for a bad or taken name.
   */
  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void
  /** A stream to a peer (DID, prefix or name); dials if needed. @throws KithError `PEER_UNKNOWN`, `PEER_UNREACHABLE`, `ABORTED`. */
  open(peer: string, protocol: string, options?: Waiting): Promise<Duplex>
  /**
   * Listens on this machine and carries each connection to the target, which the peer dials if its policy allows it; or an SSH server whose host key is known.
   * @throws KithError `FORWARD_DENIED` (`next` is the command for the other machine), `FORWARD_TARGET`, `ADDRESS_IN_USE`, `BIND_REFUSED`, and as `open`; for SSH
   * as `connectSsh`, and `VAULT_LOCKED`.
   */
  forward(options: NodeForwardOptions): Promise<NodeForward>
  /** Lets the peer listen, if its policy allows it, and carries what connects there to this side; `address` is on the peer's. @throws KithError as `forward`. */
  forwardRemote(options: NodeRemoteForwardOptions): Promise<NodeForward>
  /** Opens a SOCKS5 and HTTP CONNECT proxy whose connections leave at the peer, under its policy. @throws KithError `ADDRESS_IN_USE`, `BIND_REFUSED`, `PEER_UNKNOWN`. */
  socks(options: NodeSocksOptions): Promise<NodeForward>
  /**
   * Sends a file to the peer's inbox.
   * @throws KithError `FILE_DENIED` (`next` is the command for the other machine), `FILE_MISSING`, `FILE_NAME`, `FILE_QUOTA`, `FILE_CHANGED`, `FILE_MISMATCH`,
   * `LINK_LOST`, `ABORTED` (what arrived stays for `resume`), and as `open`.
   */
  send(peer: string, path: string, options?: NodeSendOptions): Promise<SendResult>
  /** Files that peers sent, newest first; they lie in `status().inbox`. */
  inbox(): Promise<readonly InboxEntry[]>
  /**
   * Signs an entry and sends it to everybody who reads the topic, also to those who come back later. Resolves when it is durable here.
   * @throws KithError `TOPIC_UNKNOWN`, `TOPIC_DENIED`, `ENTRY_TOO_LARGE`.
   */
  publish(topic: string, data: string | Uint8Array): Promise<GossipEntry>
  /** Entries in causal order, each once, until the signal aborts or the loop is left. @throws KithError `TOPIC_UNKNOWN`. */
  subscribe(topic: string, options?: SubscribeOptions): AsyncIterableIterator<GossipEntry>
  /**
   * Sends a sealed message, also to a peer who is away: it is durable here first and tried until it arrives or expires.
   * @throws KithError `PEER_UNKNOWN`, `MESSAGE_TOO_LARGE`, `OUTBOX_FULL`.
   */
  tell(peer: string, message: string | Uint8Array, options?: TellOptions): Promise<Told>
  /** Messages that came, oldest first; `on('message')` tells of new ones. */
  messages(page?: MailPage): Promise<readonly MailMessage[]>
  /**
   * Offers an operation until the returned function ends it: here, to whom its `access` or a rule (`policy.allow(peer, 'call', 'service/op')`) lets.
   * @throws KithError `CALL_CONFLICT` for a taken name.
   */
  operation(operation: AnyOperation): () => void
  /**
   * Calls an operation as the owner: `/peer/service/op`, `/peer/alias/service/op` for a worker of a head, or `service/op` here. With the type of an operation its input
   * and answer have types: `node.call<typeof say>('/laptop/echo/say', { text })`.
   * @throws KithError `CALL_UNKNOWN`, `CALL_DENIED`, `CALL_INPUT`, `CALL_TIMEOUT`, `CALL_FAILED`, `WORKER_LOST`, what the operation declares, and as `open`.
   */
  call<T extends AnyOperation = AnyOperation>(path: string, input?: InputOf<T>, options?: OwnCallOptions): Promise<OutputOf<T>>
  /** The items of a subscription, pulled; leaving the loop ends it there. @throws as `call`. */
  stream<T extends AnyOperation = AnyOperation>(path: string, input?: InputOf<T>, options?: OwnCallOptions): AsyncIterableIterator<OutputOf<T>>
  /** What can be called here, or at a peer. @throws as `open`. */
  operations(peer?: string, options?: Waiting): Promise<readonly ReachableOperation[]>
  /**
   * Registers what `operation` added at a head, and keeps that up until it is closed. The head's owner has to allow it:
   * `kith allow PEER offer alias/service`. @throws KithError `WORKER_CONFLICT`, `PEER_UNKNOWN`. @throws TypeError for a bad alias.
   */
  offerAt(head: string, options: { readonly alias: string }): NodeRegistration
  /** Round trips in ms. @throws as `open`. */
  ping(peer: string, options?: Waiting & { readonly count?: number }): Promise<readonly number[]>
  /** The path taken and why not a better one; with an action (`publish`, `TOPIC`), whether it is allowed here. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  why(peer: string, action?: string, target?: string): Explanation
  /** The object behind `kith status --json`. */
  status(): NodeStatus
  /** Few, typed events. A listener that throws is logged and harms nobody. Returns the way to stop. */
  on<T extends keyof NodeEvents>(topic: T, listener: (event: NodeEvents[T]) => void): () => void
  /** Lets streams end for a moment, stops everything, frees the home. Idempotent. */
  close(): Promise<void>
}
