import type { Json, Lines, Nothing } from '../route.ts'

/** Who may publish and read, in words: `open`, a class and everybody above it, a list of peers, or any other least score. */
export type AccessName = 'open' | 'known' | 'partner' | 'federated' | 'list' | 'score'

export interface TopicListed {
  readonly name: string
  readonly access: AccessName
  /** Least standing, 0 to 1; null where it is not asked for. */
  readonly min_score: number | null
  readonly members: readonly { readonly did: string; readonly name: string | null; readonly self: boolean }[]
  readonly entries: number
  readonly bytes: number
  /** Linked peers that read it. */
  readonly subscribers: number
  readonly subscribed: boolean
  /** Entries that wait for others. */
  readonly held: number
  /** Its definition could not be read again: it admits nobody until it is removed and made anew. */
  readonly broken: boolean
}

export interface TopicInput {
  readonly name: string
  readonly access: Exclude<AccessName, 'score'>
  /** DIDs, prefixes or names; for `list` alone. */
  readonly members?: readonly string[]
}

/** An entry of a topic. `text` is null where the bytes are not UTF-8. */
export interface EntryLine {
  readonly id: string
  readonly topic: string
  readonly author: string
  readonly author_name: string | null
  readonly device: string
  readonly time: string
  readonly epoch: number
  readonly seq: number
  readonly type: number
  readonly bytes: number
  /** Something it refers to has not come. */
  readonly gap: boolean
  /** Entries that this reader missed right before, because it was too slow. */
  readonly lost: number
  readonly text: string | null
  readonly data: string
}

/** `readers`: linked peers that read the topic now; others get the entry when they link. */
export type Published = EntryLine & { readonly readers: number }

/** Topics: `data` is base64. A reader gets one line per entry until it goes away. */
export interface GossipApi {
  'GET /v1/topics': Json<Nothing, { readonly topics: readonly TopicListed[] }>
  'POST /v1/topics/create': Json<TopicInput, TopicListed>
  'POST /v1/topics/remove': Json<{ readonly name: string }, { readonly name: string; readonly removed: true }>
  'POST /v1/publish': Json<{ readonly topic: string; readonly data: string }, Published>
  'GET /v1/subscribe': Lines<{ readonly topic: string; readonly replay?: boolean }, EntryLine>
}
