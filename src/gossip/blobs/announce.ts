import { toHex } from '../../core/bytes.ts'
import type { Clock } from '../../core/clock.ts'
import { bytesN, type Codec, constant, decode, encode, struct, uint53 } from '../../core/codec.ts'
import { hashLabeled } from '../../core/crypto/labels.ts'
import type { Logger } from '../../core/observe/log.ts'
import { type Did, didPublicKey } from '../../identity/did.ts'
import { MESSAGE_TYPE } from '../../mesh/messages/types.ts'
import type { Gossip, GossipEntry } from '../types.ts'

/**
 * # Who has what, without telling what
 *
 * ```text
 * topic blob:announce   u8 1 || bytes32 tag || u64 expires_ms      tag = H("icn/blob-announce/v1", root || author's did_key)
 * topic blob:request    u8 1 || bytes32 tag || u64 expires_ms      tag = H("icn/blob-request/v1", root || author's did_key)
 * ```
 *
 * "I have it" and "who has it?". Only those who know the root recognise a tag, and the same blob looks different from every author, so a reader of the topics learns
 * neither what is exchanged nor who exchanges the same. Recognising one is no permission either: the provider still decides per peer.
 * A request is answered only by those who may give the blob to its author.
 */
export const ANNOUNCE_TOPIC = 'blob:announce'
export const REQUEST_TOPIC = 'blob:request'

interface Notice {
  readonly _version?: undefined
  readonly tag: Uint8Array
  readonly expiresMs: number
}

export const notice: Codec<Notice> = struct<Notice>({ _version: constant(0x01), tag: bytesN(32), expiresMs: uint53 })

/** How long an announcement counts; it is made again as long as the blob is offered. */
const ANNOUNCE_LIFE_MS = 3_600_000
const REQUEST_LIFE_MS = 60_000
const MAX_LIFE_MS = 86_400_000
/** Announcements kept of one author and of all. */
const MAX_PER_AUTHOR = 256
const MAX_AUTHORS = 256
/** The same blob is not announced again within this, however often it is asked for. */
const QUIET_MS = 10_000
const MAX_ANNOUNCED = 1_024

/** What announcements need of gossip. */
export type NoticeBoard = Pick<Gossip, 'publish' | 'listen'>

export interface AnnouncerComponents {
  readonly own: Did
  readonly gossip: NoticeBoard
  readonly clock: Clock
  readonly logger: Logger
  /** Roots that this peer may fetch from here. */
  readonly offeredTo: (peer: Did) => Iterable<Uint8Array>
}

type Listener = { readonly root: Uint8Array; readonly found: (peer: Did) => void }

/** Tells who looks for a blob who has announced it, and answers requests. */
export class Announcer {
  readonly #components: AnnouncerComponents
  /** By author, the tags it announced and until when. Oldest author first. */
  readonly #heard: Map<Did, Map<string, number>> = new Map()
  readonly #listeners: Set<Listener> = new Set()
  /** When a blob was announced last, by root. */
  readonly #announced: Map<string, number> = new Map()
  readonly #stop: (() => void)[]

  constructor(components: AnnouncerComponents) {
    this.#components = components
    const { gossip } = components
    this.#stop = [
      gossip.listen(ANNOUNCE_TOPIC, (entry) => this.#onAnnounce(entry), { replay: true }),
      gossip.listen(REQUEST_TOPIC, (entry) => this.#onRequest(entry)),
    ]
  }

  /** Says that this node has the blob. Failures are logged: an announcement is a convenience. */
  announce(root: Uint8Array): void {
    const { own, clock } = this.#components
    const key = toHex(root)
    const now = clock.monotonic()
    if (now - (this.#announced.get(key) ?? Number.NEGATIVE_INFINITY) < QUIET_MS) return
    this.#announced.delete(key)
    this.#announced.set(key, now)
    if (this.#announced.size > MAX_ANNOUNCED) for (const oldest of this.#announced.keys()) return void this.#announced.delete(oldest)
    this.#publish(ANNOUNCE_TOPIC, announceTag(root, own), ANNOUNCE_LIFE_MS)
  }

  /** Asks who has a blob, and calls back for everybody who says or has said so. Returns the way to stop. */
  look(root: Uint8Array, found: (peer: Did) => void): () => void {
    const { own, clock } = this.#components
    const listener: Listener = { root, found }
    this.#listeners.add(listener)
    for (const [author, tags] of this.#heard) {
      if ((tags.get(toHex(announceTag(root, author))) ?? 0) > clock.now()) found(author)
    }
    this.#publish(REQUEST_TOPIC, requestTag(root, own), REQUEST_LIFE_MS)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    for (const stop of this.#stop) stop()
    this.#listeners.clear()
  }

  #publish(topic: string, tag: Uint8Array, lifeMs: number): void {
    const { gossip, clock, logger } = this.#components
    const data = encode(notice, { tag, expiresMs: clock.now() + lifeMs })
    // The topic may be unknown or closed to this node: transfers work without.
    void (async () => await gossip.publish(topic, data, { type: MESSAGE_TYPE.blob }))().catch((error: unknown) =>
      logger.debug('blob notice not published', { topic, error: String(error) }),
    )
  }

  #onAnnounce(entry: GossipEntry): void {
    const read = this.#read(entry)
    if (read === undefined) return
    const { author } = entry
    const tags = this.#heard.get(author) ?? new Map<string, number>()
    this.#heard.delete(author)
    this.#heard.set(author, tags)
    const key = toHex(read.tag)
    tags.delete(key)
    tags.set(key, read.expiresMs)
    if (tags.size > MAX_PER_AUTHOR) deleteFirst(tags)
    if (this.#heard.size > MAX_AUTHORS) deleteFirst(this.#heard)
    for (const { root, found } of [...this.#listeners]) if (toHex(announceTag(root, author)) === key) found(author)
  }

  #onRequest(entry: GossipEntry): void {
    const read = this.#read(entry)
    if (read === undefined) return
    const key = toHex(read.tag)
    for (const root of this.#components.offeredTo(entry.author)) {
      if (toHex(requestTag(root, entry.author)) !== key) continue
      this.announce(root)
      return
    }
  }

  /** Of others, well-formed and not run out. */
  #read(entry: GossipEntry): Notice | undefined {
    const { own, clock } = this.#components
    if (entry.author === own || entry.type !== MESSAGE_TYPE.blob) return undefined
    try {
      const read = decode(notice, entry.data)
      const now = clock.now()
      return read.expiresMs > now && read.expiresMs <= now + MAX_LIFE_MS ? read : undefined
    } catch {
      // Signed by its author, who is no neighbour perhaps: nothing to hold against whoever passed it on.
      return undefined
    }
  }
}

export function announceTag(root: Uint8Array, author: Did): Uint8Array {
  return hashLabeled('icn/blob-announce/v1', root, didPublicKey(author))
}

export function requestTag(root: Uint8Array, author: Did): Uint8Array {
  return hashLabeled('icn/blob-request/v1', root, didPublicKey(author))
}

function deleteFirst<K>(map: Map<K, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key)
    return
  }
}
