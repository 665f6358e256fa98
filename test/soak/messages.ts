/** What the processes of the soak tell each other. Everything crosses as JSON. */

/** Where the victim is, and who speaks honestly with it. */
export interface Target {
  readonly did: string
  /** Hexadecimal digits. */
  readonly linkKey: string
  readonly url: string
  readonly honest: readonly { readonly did: string; readonly linkKey: string }[]
}

export interface VictimReady {
  readonly did: string
  readonly url: string
  /** For two. */
  readonly ticket: string
}

export interface Standing {
  readonly state: string
  readonly reputation: number
  readonly violations: number
}

export type ToVictim =
  | { readonly do: 'hello' }
  | { readonly do: 'befriend'; readonly did: string; readonly name: string; readonly class: 'known' | 'partner'; readonly instead: string | undefined }
  | { readonly do: 'sample' }
  | { readonly do: 'standing'; readonly dids: readonly string[] }

export interface Sample {
  readonly rss: number
  readonly heap: number
  readonly external: number
  /** Descriptors and the handles of the event loop. */
  readonly descriptors: number
  readonly handles: number
  /** Microseconds of processor time of the whole process since its start. */
  readonly cpu: number
  /** Longest turn of the event loop since the last sample, and the 99th percentile, in ms. */
  readonly loopMax: number
  readonly loopP99: number
  readonly topics: { readonly entries: number; readonly bytes: number; readonly held: number }
  readonly peers: number
}

export interface HonestReport {
  /** Round trips in ms, since the last report. */
  readonly ping: readonly number[]
  /** On the topic that everybody may publish to, and on that of members. */
  readonly open: readonly number[]
  readonly members: readonly number[]
  readonly tell: readonly number[]
}

/** Of the whole run. */
export interface HonestTotals {
  readonly published: number
  readonly received: number
  /** Entries that a reader got again, after a later one of the same author, or marked as having a gap. */
  readonly twice: number
  readonly disordered: number
  readonly told: number
  readonly delivered: number
  /** What failed, by what and why. */
  readonly failed: Readonly<Record<string, number>>
  /** Links to the victim that were lost. */
  readonly downs: readonly string[]
}

export interface HonestReady {
  readonly peers: readonly { readonly did: string; readonly linkKey: string }[]
  /** Of the victim. */
  readonly linkKey: string
}

export type ToHonest =
  | { readonly do: 'pair'; readonly victim: VictimReady }
  | { readonly do: 'begin' }
  | { readonly do: 'report' }
  /** Stops publishing and waits until everything has arrived, or for so long. */
  | { readonly do: 'settle'; readonly withinMs: number }

export type ToAbuser = { readonly do: 'target'; readonly target: Target } | { readonly do: 'begin'; readonly cases: readonly string[] } | { readonly do: 'end' }

/** Questions are numbered, answers bear the same number. */
export interface Question<T> {
  readonly id: number
  readonly ask: T
}

export interface Answer {
  readonly id: number
  readonly answer?: unknown
  readonly error?: string
}
