import type { Duplex } from 'node:stream'
import type { PublicKey } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/observe/log.ts'
import type { Metrics } from '../core/observe/metrics.ts'
import type { Random } from '../core/random.ts'
import type { Store } from '../core/store/types.ts'
import type { Did } from '../identity/did.ts'
import type { ChainState, Device } from '../identity/types.ts'
import type { LinkStream, Transport } from '../transport/types.ts'
import type { BookPeer } from './address-book.ts'
import type { AdmissionLimits, AdmissionStatus } from './admission.ts'
import type { IsolatedLimits } from './admission-budget.ts'
import type { ConstraintOverrides } from './constraints.ts'
import type { Discovery } from './discovery.ts'
import type { DiscoveredPeer } from './found-peers.ts'
import type { InviteStatus } from './invite.ts'
import type { Messages } from './messages/types.ts'
import type { RuleConditions } from './policy-conditions.ts'
import type { RuleText } from './policy-rules.ts'
import type {
  ChainStanding,
  Conduct,
  Decision,
  Explanation,
  LeanHandler,
  LinkEvent,
  LinkStatus,
  PeerClass,
  Policy,
  PolicyRequest,
  ProtocolOptions,
  StreamHandler,
} from './types.ts'

/** Settings that `reload` may change while the node runs. */
export interface MeshConfig {
  /** Schemes from the most to the least liked. Default: `DEFAULT_PREFER`. */
  readonly prefer?: readonly string[]
  /** Refuse links whose key exchange is not post-quantum. Default false. */
  readonly requirePq?: boolean
  /**
   * For how many us a link looks for an answer before the process sleeps, as long as that brings answers sooner. Calls one after the other take a fraction of the
   * time then, and a processor while they do. Default 0: never; at most 1,000. Not on `quic`.
   */
  readonly pollUs?: number
  /** Rules of the configuration, tried in this order behind those of the owner's commands. */
  readonly rules?: readonly RuleText[]
  /** Changes to the table of limits per class. */
  readonly limits?: ConstraintOverrides
  /** Ports on which the node itself listens: forwarded only by a rule that names host and port. Asked at each decision where they come and go. */
  readonly ownPorts?: readonly number[] | (() => readonly number[])
  readonly admission?: Partial<AdmissionLimits>
  readonly isolated?: Partial<IsolatedLimits>
  /** How long `close` lets streams run on, in ms. Default 2,000. */
  readonly drainMs?: number
}

export const DEFAULT_PREFER: readonly string[] = ['memory', 'tcp', 'quic', 'udx', 'tls', 'wss', 'relay']

export interface MeshComponents {
  readonly device: Device
  readonly store: Store
  readonly transports: readonly Transport[]
  /**
   * A further source of decisions, classes and limits (trust). The owner's own rules come first: this is asked where they, and whoever provides the action, say
   * nothing, and for classes and limits of peers that are not in the address book. It abstains from what it does not decide.
   */
  readonly policy?: Policy
  /** Where misbehaviour seen on links is reported, and who may not link for it. Default: nothing is held against anybody. */
  readonly conduct?: Conduct
  /** Told when an identity showed a history of its keys that contradicts the one known here; `forks` has both entries. */
  readonly onFork?: (chain: ChainState) => void
  /** Number of this start where it is also counted outside the store: the mesh's own is never lower. */
  readonly boot?: number
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly metrics?: Metrics
  readonly config?: MeshConfig
  readonly discovery?: Discovery | readonly Discovery[]
  /** IP addresses of this machine's interfaces. Default: asked of the system. */
  readonly interfaces?: () => readonly string[]
  /** Lets other work of the process run between two slices of long work. Default: a turn of the event loop. */
  readonly yieldTurn?: () => Promise<void>
}

export interface PeerBook {
  /** Puts a peer in, or adds addresses to one. @throws KithError `DID_INVALID`, `ADDRESS_INVALID`, `BUDGET_EXCEEDED`. */
  add(did: string, options?: { readonly name?: string; readonly urls?: readonly string[]; readonly class?: PeerClass }): Promise<BookPeer>
  /** @throws TypeError for a bad name. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  rename(peer: string, name: string): Promise<BookPeer>
  /** Ends its links, takes back its class and the rules that allow it something; rules that deny stay. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  forget(peer: string): Promise<Did>
  list(): readonly BookPeer[]
  get(did: Did): BookPeer | undefined
  /** @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  resolve(peer: string): Did
  /** Calls back after each change of an entry, also when it was forgotten; returns the way to stop. The listener does not throw. */
  onChange(listener: (did: Did) => void): () => void
}

/** A request of an identity: the principals of other doors are never asked about to whoever provides an action. */
export type PeerRequest = PolicyRequest & { readonly peer: Did }

/** What holds for an action where the owner has no rule, by whoever knows its targets. `undefined`: it does not know this target. */
export type Decider = (request: PeerRequest) => { readonly allowed: boolean; readonly rule: string } | undefined

/**
 * Who may do what, and how much of it; itself the `Policy` that services ask. In this order: a ban, a contradicted identity, the owner's rules, what was provided
 * for the action, the further source (`MeshComponents.policy`), the default.
 */
export interface MeshPolicy extends Policy {
  /**
   * Registers the default decision of an action, so that `why`, `policy test`, `allow` and `deny` work for its targets. `rule` says in the owner's words what
   * decided. The returned function ends it. @throws TypeError for an action of no version or one that has a decider.
   */
  provide(action: string, decider: Decider): () => void
  /** `principal`: a peer as in `resolve`, a class, `*`, `ssh:SHA256:...`, `key:NAME`, `scope:NAME` or `ssh-user:NAME`. @throws TypeError for a rule that could never match. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  allow(principal: string, action: string, target?: string, conditions?: RuleConditions): Promise<RuleText>
  deny(principal: string, action: string, target?: string, conditions?: RuleConditions): Promise<RuleText>
  list(): readonly RuleText[]
  /** Takes out the typed rules that allow a principal something by its own name, and gives them back; denials stay. For names that somebody else may have next. */
  forgetAllowed(principal: string): Promise<readonly RuleText[]>
  /**
   * What the owner's own word is, a ban or a contradicted identity counting as one; `undefined` where no rule decides. For services with rules of their own behind
   * the owner's.
   */
  ruled(request: PolicyRequest): Decision | undefined
  /** Reads a rule as `allow` and `deny` would, without taking it. @throws as they do. */
  check(rule: RuleText): RuleText
  /** `peer`: also `ssh:SHA256:...` or `key:NAME`. @throws TypeError for a bad one. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  test(peer: string, action: string, target?: string, options?: Pick<PolicyRequest, 'also' | 'transport'>): Decision
}

export interface InviteMade {
  readonly id: string
  /** Whoever has it may use it: shown once, never logged. */
  readonly ticket: string
  readonly class: PeerClass
  readonly uses: number
  readonly expiresMs: number
}

export interface MeshInvites {
  /**
   * @param options class: `known` (default), `partner`, `federated`. expiresMs: lifetime, default 10 minutes, at most 30 days. uses: default 1. trustTicket: the
   * class needs no comparing of words here; the joiner decides about its own side.
   * @throws TypeError. @throws KithError `ADDRESS_INVALID` when this node listens nowhere, `BUDGET_EXCEEDED`.
   */
  create(options?: { readonly class?: PeerClass; readonly expiresMs?: number; readonly uses?: number; readonly trustTicket?: boolean }): Promise<InviteMade>
  list(): readonly InviteStatus[]
  /** @throws KithError `NOT_FOUND`. */
  revoke(id: string): Promise<void>
}

export interface Joined {
  readonly did: Did
  readonly name: string
  /** Four words, the same on both sides. */
  readonly words: string
  readonly class: PeerClass
  readonly pending: PeerClass | null
}

export interface NetworkStats {
  readonly links: number
  readonly connections: number
  readonly streams: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly isolatedLinks: number
  readonly admission: AdmissionStatus
}

export interface Waiting {
  readonly signal?: AbortSignal
}

/** A running node's links, peers and rules. */
export interface Mesh extends AsyncDisposable {
  readonly did: Did
  /** Where others reach this node, unspecified addresses replaced by those of the interfaces. */
  readonly addresses: readonly string[]
  /** Schemes this node can dial. */
  readonly schemes: readonly string[]
  /** Peers of the book, or this identity itself, that were shown two contradicting histories of this identity's keys: one of them has to be chosen there. */
  readonly contradictedBy: readonly Did[]
  readonly book: PeerBook
  readonly policy: MeshPolicy
  readonly invites: MeshInvites
  /** Signed messages (PN-7). Its `close` is this one's care. */
  readonly messages: Messages
  /** Begins to look for and to link the peers of the address book. @throws KithError `STORE_FAILED`. */
  start(): Promise<void>
  /** Stops listening, lets streams end for a moment, closes all links. Idempotent. The store and the device stay open. */
  close(): Promise<void>
  /** @returns the actual URLs. @throws KithError `ADDRESS_INVALID`, `ADDRESS_IN_USE`, `SCHEME_UNAVAILABLE`. */
  listen(url: string, options?: Waiting): Promise<readonly string[]>
  /** Serves a protocol with Node streams; the returned function ends that. @throws TypeError for a bad or taken name. */
  handle(protocol: string, handler: StreamHandler, options?: ProtocolOptions): () => void
  /** The same with lean streams: the handler sets its callbacks before it returns. */
  handleLean(protocol: string, handler: LeanHandler, options?: ProtocolOptions): () => void
  /**
   * Opens a stream; dials if needed. A refusal arrives on the stream.
   * @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`, `PEER_UNREACHABLE`, `ABORTED`, or what the peer answered to the greeting.
   */
  open(peer: string, protocol: string, options?: Waiting): Promise<Duplex>
  /** With `linkKey` (hex, as in `LinkStatus`): over the link with exactly that machine, which may be another one of this identity; nothing is dialled. */
  openLean(peer: string, protocol: string, options?: Waiting & { readonly linkKey?: string }): Promise<LinkStream>
  /** Links a peer now. With `url`, over exactly that address. @throws as `open`. */
  dial(peer: string, options?: Waiting & { readonly url?: string }): Promise<LinkStatus>
  /**
   * Links another machine of this identity, which is in no address book, at these addresses or where discovery heard of it. Without effect when it is linked.
   * @throws KithError `SELF_DIAL` for this machine, `PEER_UNREACHABLE`, `ABORTED`, or what it answered.
   */
  linkDevice(linkKey: PublicKey, urls: readonly string[], options?: Waiting): Promise<void>
  /** Round trips through the peer's node, in ms. @throws as `open`. */
  ping(peer: string, options?: Waiting & { readonly count?: number }): Promise<readonly number[]>
  /** One entry per linked device, and one per peer of the address book without a link. */
  links(): readonly LinkStatus[]
  network(): { readonly discovered: readonly DiscoveredPeer[]; readonly stats: NetworkStats }
  /**
   * Pairs with the ticket's issuer.
   * @throws KithError `INVITE_INVALID`, `INVITE_REFUSED`, `PEER_UNREACHABLE`, `CHAIN_FORKED`, `SELF_DIAL`, `ABORTED`.
   */
  join(ticket: string, options?: Waiting & { readonly name?: string }): Promise<Joined>
  /** The words matched: the pending class takes effect. @throws KithError `CONFIRM_NOTHING`, `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  confirm(peer: string): Promise<BookPeer>
  /**
   * A person vouches for the keys of a peer as they are known here: from now on its class counts above Known. `head` is what the peer's owner read out of the last entry,
   * 16 digits or more; `chain` its history, encoded, that a person brought.
   * @throws TypeError for a bad head. @throws KithError `NOT_FOUND` while none are known, `WRONG_PEER` for another head, `CHAIN_FORKED`, `PEER_UNKNOWN`, `PEER_AMBIGUOUS`.
   */
  anchor(peer: string, options?: { readonly head?: string; readonly chain?: Uint8Array }): Promise<ChainStanding>
  /**
   * A person chooses between two contradicting histories, by the first digits of an entry that only the true one has. Links end and begin again under it.
   * @throws TypeError for a bad head. @throws KithError `CONFIRM_NOTHING` when nothing contradicts, `NOT_FOUND` (details.heads), `PEER_UNKNOWN`, `PEER_AMBIGUOUS`.
   */
  repin(peer: string, head: string): Promise<ChainStanding>
  /** Asks linked peers for what is missing of an identity's history. True when something was learned; once an hour at most. */
  fetchChain(did: Did): Promise<boolean>
  /** Besides those of the address book, the identities whose history the peers in it may ask for (`icn/chain/1`). The last one given counts; default none. */
  showHistories(which: (did: Did) => boolean): void
  /** How far the keys of an identity can be relied on; null before they were seen. */
  chainOf(did: Did): ChainStanding | null
  /** Which path is used and why not a better one; with an action, whether it is allowed here and by which rule. @throws KithError `PEER_UNKNOWN`, `PEER_AMBIGUOUS`. */
  why(peer: string, action?: string, target?: string): Explanation
  /** The network of this machine changed: everybody who is waited for is tried now. */
  wake(): void
  /**
   * Goes on with another device: a renewed binding is used from the next greeting on; a new link key ends all links and needs transports made with it.
   * @throws TypeError for another identity, or a new link key without transports.
   */
  replaceDevice(device: Device, options?: { readonly transports?: readonly Transport[] }): Promise<void>
  /** Returns the way to stop. A listener that throws is logged and harms nobody. */
  onEvent(listener: (event: LinkEvent) => void): () => void
  /** @throws TypeError for a bad value; nothing is changed then. */
  reload(config: MeshConfig): void
}
