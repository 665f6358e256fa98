import type { Duplex } from 'node:stream'
import type { PublicKey } from '../core/bytes.ts'
import type { KithError } from '../core/errors.ts'

/** How a transport vouches for the channel inside the Hello signatures (protocol.md, PN-5). */
export type ChannelBinding =
  | { readonly kind: 'stream'; readonly bytes: Uint8Array }
  | { readonly kind: 'tls-exporter'; readonly bytes: Uint8Array }
  | { readonly kind: 'quic' }
  | { readonly kind: 'memory'; readonly bytes: Uint8Array }

/** Where a connection runs, for `status`, `why` and path choice. Never a secret. */
export interface Path {
  readonly scheme: string
  /** URL of the remote end as seen from here. */
  readonly address: string
  readonly direct: boolean
  /** The relay, when there is one. */
  readonly via?: string
}

/**
 * One way of carrying links. Made from options, then used for both directions; knows link keys, never DIDs.
 */
export interface Transport {
  readonly scheme: string
  /**
   * Listens on `address` (a URL of this scheme, port 0 for any) and hands out authenticated channels.
   * @throws KithError `ADDRESS_INVALID`, `ADDRESS_IN_USE`, `SCHEME_UNAVAILABLE`.
   */
  listen(address: string, onChannel: (channel: Channel) => void, options?: ListenOptions): Promise<Listener>
  /**
   * Connects and authenticates. `expect` is compared before a byte of the caller's is written.
   * The promise settles at once on abort; what is under way natively is ended in the background.
   * @throws KithError `ADDRESS_INVALID`, `ADDRESS_UNREACHABLE`, `WRONG_KEY`, `HANDSHAKE_FAILED`, `HANDSHAKE_TIMEOUT`, `ABORTED`.
   */
  dial(address: string, options: DialOptions): Promise<Channel>
  /**
   * Asks who is at an address, before any handshake (PN-2): sends one request frame and returns the one answer frame, at most 96 KiB.
   * Absent where the transport cannot carry it. @throws KithError `ADDRESS_UNREACHABLE`, `LOCATE_FAILED`, `TIMEOUT`, `ABORTED`.
   */
  locate?(address: string, request: Uint8Array, options: { signal: AbortSignal }): Promise<Uint8Array>
}

export interface ListenOptions {
  signal?: AbortSignal
  /**
   * Asked with the source before anything is read; `undefined` closes at once. Charges the source's budget; `release` must be called when the handshake has ended.
   * `evict` closes this connection: under a flood the oldest unfinished handshakes make room for new ones, so that a quick honest peer still gets in.
   */
  admit?: (source: Source, evict: () => void) => { release(): void } | undefined
  /** Told of each connection of others that ended before its channel was there: for counters. */
  onFailed?: (error: KithError) => void
  /** Answers a locate request (PN-2); `undefined` closes without a word. */
  onLocate?: (request: Uint8Array, source: Source) => Uint8Array | undefined
}

export interface Source {
  readonly scheme: string
  /** IP address without port, or a label for transports that have none. */
  readonly host: string
  readonly port: number
}

export interface DialOptions {
  readonly expect: PublicKey
  readonly signal: AbortSignal
}

export interface Listener {
  /** Actual URLs, ports filled in. */
  readonly addresses: readonly string[]
  /** Stops accepting; channels already handed out live on. */
  close(): Promise<void>
}

/** An authenticated pipe of whole messages on which `mesh/` runs Hello; then it becomes a `Connection`. */
export interface Channel {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  /** Whether the key exchange is post-quantum. */
  readonly postQuantum: boolean
  /** Known on both sides once the first message has been received; throws `TypeError` before. */
  readonly channelBinding: ChannelBinding
  /** At most 64 KiB. Ordered; sent at the end of the turn. @throws KithError `CLOSED`, `MESSAGE_TOO_LARGE`. */
  send(message: Uint8Array): void
  /** The next message. @throws KithError `LINK_PQ_FAILED`, `STREAM_CORRUPT`, `LINK_LOST`, `CLOSED`, or the signal's reason. */
  receive(options?: { signal?: AbortSignal }): Promise<Uint8Array>
  /** Turns the channel into a connection; called once, nothing is handed to streams before. */
  multiplex(options?: MultiplexOptions): Connection
  /** Ends the channel; what was sent leaves first (bounded by a second). Idempotent. */
  close(): void
}

export interface MultiplexOptions {
  /** Streams the other side may have open at once; a peer that opens more is closed with `MUX_LIMIT`. Default 100, which is what peers expect. */
  readonly maxInboundStreams?: number
  /** Streams we may have open at once, the other side's limit as we know it; more wait. Default 100. */
  readonly maxOutboundStreams?: number
  /** Flow-control window of a stream that receives much. Default 2 MiB, at least 256 KiB. */
  readonly windowBytes?: number
  /** What all streams together may have beyond 256 KiB each. Default 16 MiB. */
  readonly linkWindowBytes?: number
  /** Whether a stream that turns out to receive much gets its full window now; asked once for each. Without it, yes. Must not throw. */
  readonly mayGrow?: () => boolean
  /** After this long without a byte from the peer a ping asks; after twice as long the connection is lost. Default 15 s; 0 asks never. */
  readonly keepAliveMs?: number
  /**
   * For how many us (up to 1,000) the process keeps looking for an answer before it sleeps, as long as that brings answers sooner; asked at each flush.
   * Without it, or 0: it sleeps at once. Not for `quic`.
   */
  readonly pollUs?: () => number
  /** What received bytes may occupy here until they are consumed. Without it only the windows bound them. */
  readonly memory?: LinkMemory
  /** Told of each stream of the peer that is reset on this side, with the number that the peer is told: for counters. Must not throw. */
  readonly onRefused?: (number: number) => void
}

/** The budget that a connection charges for bytes of the peer that nobody has taken yet. */
export interface LinkMemory {
  /** Whether so many more bytes may be held. When not, the stream that holds most is reset with `BUDGET_EXCEEDED`. */
  reserve(bytes: number): boolean
  free(bytes: number): void
  /** Payload has moved: the connection is in use. */
  touch(): void
}

/** One authenticated, multiplexed connection to one link key. */
export interface Connection {
  readonly role: 'dialer' | 'listener'
  readonly localKey: PublicKey
  readonly remoteKey: PublicKey
  readonly path: Path
  readonly postQuantum: boolean
  /** Open streams, both directions. */
  readonly streamCount: number
  /** Bytes of payload, for `status`. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Opens a stream; data may be written at once. Waits while the peer's stream limit is reached. @throws KithError `LINK_LOST`, `LINK_CLOSED`, `GOING_AWAY`, or the signal's reason. */
  open(options?: { signal?: AbortSignal }): Promise<LinkStream>
  /** Set once, before the first await after `multiplex()`. Streams that arrive earlier are kept. */
  onStream: (stream: LinkStream) => void
  /** Round trip in ms. @throws KithError `LINK_LOST`, `TIMEOUT`. */
  ping(options?: { signal?: AbortSignal }): Promise<number>
  /** No new streams from either side; those that run go on (GOAWAY). */
  drain(): void
  /** Ends the connection with a code the other side learns. Bounded by a second. Idempotent. */
  close(number?: number, reason?: string): Promise<void>
  /** Resolves once, never rejects. */
  readonly closed: Promise<CloseInfo>
}

export interface CloseInfo {
  /**
   * Null after a clean close with number 0 by either side. A connection that was simply lost reports `LINK_LOST`. `details.breach` stands in an error of ours when
   * the peer sent what no correct one does: `malformed-frame` or `protocol-state`.
   */
  readonly error: KithError | null
  readonly remote: boolean
}

/**
 * The lean stream that calls, blobs and forwards use directly. Callbacks are plain properties with one owner; they must not throw.
 * A Node `Duplex` is a view of it, made on request.
 */
export interface LinkStream {
  /** Unique among streams of the connection. */
  readonly id: number
  readonly inbound: boolean
  readonly connection: Connection
  /**
   * Appends bytes. They are copied or sealed before this returns. False when the queue is above its mark: wait for `onDrain`.
   * Ignored after `end`, `reset` or the peer's stop.
   */
  write(data: Uint8Array, start?: number, end?: number): boolean
  /** Half-close: the peer sees the end after everything written. */
  end(): void
  /** Ends both directions at once; the peer's callbacks get the number. */
  reset(number: number): void
  /** Reads no more: the peer's writing half ends with the number, ours goes on. */
  stop(number: number): void
  /** Returns flow-control credit for bytes handed to `onData`. Every byte must be returned once, sooner or later. */
  consume(length: number): void
  /** Valid only during the call. What arrives before it is first set is kept, within the window, and follows at the end of the turn in which it is set. */
  onData: (data: Buffer, start: number, end: number) => void
  /** The peer half-closed. */
  onEnd: () => void
  /** The peer reset or stopped, or the connection is gone. Called at most once per direction that was still open; `write` stays silent afterwards. */
  onError: (error: KithError, direction: 'both' | 'write') => void
  onDrain: () => void
  /** Both directions have ended, in whatever way. Exactly once. */
  onClose: () => void
  /** A Duplex view; takes over all callbacks. Half-open allowed. Destroying it with a `KithError` resets with that error's number. */
  toDuplex(): Duplex
}
