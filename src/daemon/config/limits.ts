import { type ConstraintOverrides, DEFAULT_CONSTRAINTS, LIMIT_RANGES, PEER_CLASSES } from '../../mesh/constraints.ts'
import type { ClassLimits, PeerClass } from '../../mesh/types.ts'

type LimitName =
  | 'messages_per_second'
  | 'burst'
  | 'links'
  | 'streams'
  | 'buffer_bytes'
  | 'topics'
  | 'subscriptions'
  | 'message_bytes'
  | 'pull_bytes'
  | 'outstanding_requests'

/** The limits of the classes by the names that settings have, each with what it says. */
const LIMITS: Readonly<Record<LimitName, readonly [keyof ClassLimits, string]>> = {
  messages_per_second: ['messagesPerSecond', 'messages a second'],
  burst: ['burst', 'messages at once'],
  links: ['links', 'links of one peer'],
  streams: ['streams', 'streams open with one peer'],
  buffer_bytes: ['bufferBytes', 'bytes buffered for one peer'],
  topics: ['topics', 'topics a peer may take part in'],
  subscriptions: ['subscriptions', 'subscriptions a peer may hold here'],
  message_bytes: ['messageBytes', 'largest message or entry'],
  pull_bytes: ['pullBytes', 'bytes answered to one pull'],
  outstanding_requests: ['outstandingRequests', 'requests open with one peer at once'],
}

export type LimitPath = `limits.${PeerClass}.${LimitName}`

export type LimitValues = { readonly [P in LimitPath]: number }

export interface LimitRow {
  readonly path: LimitPath
  readonly fallback: number
  readonly range: readonly [number, number]
  readonly about: string
}

/** One row per class and limit. */
export const LIMIT_ROWS: readonly LimitRow[] = PEER_CLASSES.flatMap((held) =>
  (Object.keys(LIMITS) as LimitName[]).map((name) => {
    const [key, about] = LIMITS[name]
    return {
      path: `limits.${held}.${name}` as const,
      fallback: DEFAULT_CONSTRAINTS[held][key],
      range: LIMIT_RANGES[key],
      about: `For ${held} peers: ${about}.`,
    }
  }),
)

/** The table of limits that these settings give. */
export function limitOverrides(values: LimitValues): ConstraintOverrides {
  const limitsOf = (held: PeerClass): ClassLimits =>
    Object.fromEntries((Object.keys(LIMITS) as LimitName[]).map((name) => [LIMITS[name][0], values[`limits.${held}.${name}`]])) as unknown as ClassLimits
  return Object.fromEntries(PEER_CLASSES.map((held) => [held, limitsOf(held)])) as ConstraintOverrides
}
