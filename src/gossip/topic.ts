import type { Did } from '../identity/did.ts'
import type { Suite } from '../mesh/messages/types.ts'
import type { HoldBack } from './causal.ts'
import type { Reference } from './entry.ts'
import type { Readers } from './readers.ts'
import type { Retention } from './retention.ts'
import type { TopicIndex } from './topic-index.ts'
import type { GossipEntry, TopicAccess, TopicOptions } from './types.ts'

/** A topic's options with nothing left open. */
export interface TopicRules {
  readonly name: string
  readonly access: TopicAccess
  readonly suite: Suite
  readonly causal: boolean
  readonly retainMs: number
  readonly maxEntries: number
  readonly maxBytes: number
}

/** A topic as this node runs it. */
export interface Topic {
  readonly rules: TopicRules
  /** Its definition could not be read again. */
  readonly broken: boolean
  readonly name: string
  readonly hash: Uint8Array
  /** The hash as Latin-1 text, for maps. */
  readonly key: string
  /** How our frames name it, on every link. */
  readonly handle: number
  readonly index: TopicIndex
  readonly retention: Retention
  readonly holdBack: HoldBack
  readonly readers: Readers
  /** What nothing here refers to yet; the next entry of our own will. */
  readonly heads: Map<string, Reference>
  /** Whether what an entry refers to is kept here, or too old to be kept. */
  had(reference: Reference): boolean
}

const DAY_MS = 86_400_000
const LIMITS = {
  retainMs: [1_000, 365 * DAY_MS, 30 * DAY_MS],
  maxEntries: [1, 1_000_000, 10_000],
  maxBytes: [64 * 1024, 2 ** 33, 64 * 2 ** 20],
} as const
const MAX_MEMBERS = 1_000
const NAME = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/

/** Whether a topic can have this name: 1 to 128 letters, digits and `. _ : / -`, a letter or digit first. */
export function isTopicName(name: string): boolean {
  return NAME.test(name)
}

/** @throws TypeError for an option that is none. */
export function topicRules(options: TopicOptions): TopicRules {
  const { name, access, suite = 'ed25519', causal = true } = options
  if (!isTopicName(name)) throw new TypeError('a topic is named with 1 to 128 letters, digits and . _ : / -, a letter or digit first')
  if (suite !== 'ed25519' && suite !== 'hybrid') throw new TypeError('suite is ed25519 or hybrid')
  const number = (key: keyof typeof LIMITS): number => {
    const [low, high, standard] = LIMITS[key]
    const value = options[key] ?? standard
    if (!Number.isSafeInteger(value) || value < low || value > high) throw new TypeError(`${key} must be a whole number from ${low} to ${high}`)
    return value
  }
  return {
    name,
    access: checkAccess(access),
    suite,
    causal,
    retainMs: number('retainMs'),
    maxEntries: number('maxEntries'),
    maxBytes: number('maxBytes'),
  }
}

function checkAccess(access: TopicAccess): TopicAccess {
  if (access.kind === 'open') return { kind: 'open' }
  if (access.kind === 'score') {
    if (!Number.isInteger(access.min) || access.min < 0 || access.min > 10_000) throw new TypeError('a least score is a whole number from 0 to 10000')
    return { kind: 'score', min: access.min }
  }
  if (access.kind !== 'list' || access.members.length > MAX_MEMBERS) throw new TypeError(`access is open, a score, or a list of at most ${MAX_MEMBERS} members`)
  return { kind: 'list', members: [...new Set<Did>(access.members)].sort() }
}

/** An entry on its way from the verifier to the readers. */
export interface Arrival {
  readonly key: string
  readonly id: Uint8Array
  readonly timeMs: number
  readonly references: readonly Reference[]
  readonly size: number
  /** Inflates on demand; what does not inflate is not delivered. */
  entry(gap: boolean): GossipEntry | undefined
}
