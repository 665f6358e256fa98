import type { PublicKey } from '../core/bytes.ts'
import type { Did } from '../identity/did.ts'
import type { RecordMessage, Suite } from '../mesh/messages/types.ts'

/** Who may publish to a topic and subscribe to it. The owner's local rules (`allow`, `deny` with `publish`, `subscribe`) come first. */
export type TopicAccess =
  | { readonly kind: 'open' }
  | { readonly kind: 'list'; readonly members: readonly Did[] }
  /** Standing of at least so many basis points (0..10000). */
  | { readonly kind: 'score'; readonly min: number }

export interface TopicOptions {
  readonly name: string
  readonly access: TopicAccess
  /** Least signature of an entry. Default `ed25519`. */
  readonly suite?: Suite
  /** Whether entries wait for those they refer to. Default true. */
  readonly causal?: boolean
  /** Kept at most so long, so many, so large in all (README: which ones). Defaults 30 days, 10,000 entries, 64 MiB. The same on all nodes, or they keep different ones. */
  readonly retainMs?: number
  readonly maxEntries?: number
  readonly maxBytes?: number
}

/** One entry of a topic as its readers see it. */
export interface GossipEntry {
  /** Content id, 32 bytes: hash of the signed body. */
  readonly id: Uint8Array
  readonly topic: string
  readonly author: Did
  readonly device: PublicKey
  readonly epoch: number
  readonly seq: number
  /** As the author's clock said. */
  readonly timeMs: number
  readonly type: number
  /** Inflated. */
  readonly data: Uint8Array
  readonly record: RecordMessage
  /** Delivered before something it refers to, which did not come in time. */
  readonly gap?: true
  /** Entries that this reader missed right before this one, because it was too slow. */
  readonly lost?: number
}

export interface TopicStatus {
  readonly name: string
  readonly access: TopicAccess
  readonly entries: number
  readonly bytes: number
  /** Linked peers that subscribe to it. */
  readonly subscribers: number
  /** Whether this node reads it. */
  readonly subscribed: boolean
  /** Entries that wait for others. */
  readonly held: number
  /** Its definition could not be read again: it admits nobody until it is removed and defined anew. */
  readonly broken: boolean
}

export interface SubscribeOptions {
  readonly signal?: AbortSignal
  /** Entries kept here already come first. Default false. */
  readonly replay?: boolean
}

export interface PublishOptions {
  /** Default `MESSAGE_TYPE.gossip`. */
  readonly type?: number
}

/** Topics whose entries reach every subscribed node that policy admits. */
export interface Gossip extends AsyncDisposable {
  /**
   * Makes a topic known here, and takes part in it from then on, also after a restart. Nobody else can. The same options again change nothing.
   * @throws TypeError. @throws KithError `TOPIC_LIMIT`, `TOPIC_RESERVED`, `TOPIC_EXISTS` when it exists with other options, `STORE_FAILED`.
   */
  define(options: TopicOptions): Promise<void>
  /** Forgets a topic and its entries. @throws KithError `TOPIC_UNKNOWN`. */
  remove(name: string): Promise<void>
  topics(): readonly TopicStatus[]
  /**
   * Signs an entry, keeps it and sends it to those who read the topic. Resolves when it is durable here.
   * @throws KithError `TOPIC_UNKNOWN`, `TOPIC_DENIED`, `ENTRY_TOO_LARGE`, `STORE_FAILED`, `UNSUPPORTED` for a hybrid topic without such a key, `CLOSED`.
   */
  publish(topic: string, data: Uint8Array, options?: PublishOptions): Promise<GossipEntry>
  /** Entries in causal order, each once; a reader that is too slow loses the oldest and is told. @throws KithError `TOPIC_UNKNOWN`. */
  subscribe(topic: string, options?: SubscribeOptions): AsyncIterableIterator<GossipEntry>
  /** The same by callback, for rooms above. Returns the way to stop. */
  listen(topic: string, listener: (entry: GossipEntry) => void, options?: { readonly replay?: boolean }): () => void
  /** Kept entries in the order of their times, for those who page: `after` is an id, at most 1,000 at once. @throws KithError `TOPIC_UNKNOWN`, `NOT_FOUND` when `after` went. */
  entries(topic: string, options?: { readonly after?: Uint8Array; readonly limit?: number }): Promise<readonly GossipEntry[]>
  /** Refusals by reason since the start: never evidence against anybody. */
  readonly refusals: Readonly<Record<string, number>>
  /** Begins to talk to linked machines. */
  start(): Promise<void>
  /** Idempotent. What was accepted is written; readers end. */
  close(): Promise<void>
}
