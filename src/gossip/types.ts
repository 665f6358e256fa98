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
  /** Kept at most so long, so many, so large in all. Defaults 30 days, 10,000 entries, 64 MiB. */
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
  /** Makes a topic known here. Nobody else can. @throws TypeError. @throws KithError `TOPIC_LIMIT`, `TOPIC_EXISTS` when it exists with other options. */
  define(options: TopicOptions): Promise<void>
  /** Forgets a topic and its entries. @throws KithError `TOPIC_UNKNOWN`. */
  remove(name: string): Promise<void>
  topics(): readonly TopicStatus[]
  /** @throws KithError `TOPIC_UNKNOWN`, `TOPIC_DENIED`, `ENTRY_TOO_LARGE`. */
  publish(topic: string, data: Uint8Array, options?: PublishOptions): Promise<GossipEntry>
  /** Entries in causal order, each once; a reader that is too slow loses the oldest and is told. @throws KithError `TOPIC_UNKNOWN`. */
  subscribe(topic: string, options?: SubscribeOptions): AsyncIterableIterator<GossipEntry>
  /** The same by callback, for rooms above. Returns the way to stop. */
  listen(topic: string, listener: (entry: GossipEntry) => void, options?: { readonly replay?: boolean }): () => void
  /** Kept entries in order, for those who page. */
  entries(topic: string, options?: { readonly after?: Uint8Array; readonly limit?: number }): Promise<readonly GossipEntry[]>
  start(): Promise<void>
  close(): Promise<void>
}
