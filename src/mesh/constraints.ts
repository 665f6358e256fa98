import type { ClassLimits, PeerClass } from './types.ts'

/** From least to most trusted. */
export const PEER_CLASSES: readonly PeerClass[] = ['isolated', 'known', 'partner', 'federated']

const KIB = 1024
const MIB = 1024 * KIB

/** Limits per class. Messages and bursts are those of the founding texts; links are connections of one DID, streams are those open on all of them in both directions, bytes are buffers per DID. */
export const DEFAULT_CONSTRAINTS: Readonly<Record<PeerClass, ClassLimits>> = {
  isolated: {
    messagesPerSecond: 10,
    burst: 5,
    links: 5,
    streams: 32,
    bufferBytes: 1 * MIB,
    topics: 5,
    subscriptions: 10,
    messageBytes: 64 * KIB,
    pullBytes: 64 * KIB,
    outstandingRequests: 1,
  },
  known: {
    messagesPerSecond: 20,
    burst: 10,
    links: 10,
    streams: 256,
    bufferBytes: 32 * MIB,
    topics: 25,
    subscriptions: 100,
    messageBytes: 256 * KIB,
    pullBytes: 256 * KIB,
    outstandingRequests: 2,
  },
  partner: {
    messagesPerSecond: 100,
    burst: 25,
    links: 20,
    streams: 512,
    bufferBytes: 64 * MIB,
    topics: 100,
    subscriptions: 500,
    messageBytes: 1 * MIB,
    pullBytes: 1 * MIB,
    outstandingRequests: 3,
  },
  federated: {
    messagesPerSecond: 200,
    burst: 50,
    links: 20,
    streams: 1_024,
    bufferBytes: 128 * MIB,
    topics: 500,
    subscriptions: 1_000,
    messageBytes: 1 * MIB,
    pullBytes: 1 * MIB,
    outstandingRequests: 3,
  },
}

export type ConstraintOverrides = { readonly [C in PeerClass]?: Partial<ClassLimits> }

/** The least and the most that each limit may be set to. */
export const LIMIT_RANGES: Readonly<Record<keyof ClassLimits, readonly [number, number]>> = {
  messagesPerSecond: [1, 1_000_000],
  burst: [1, 1_000_000],
  links: [1, 64],
  streams: [1, 65_536],
  bufferBytes: [64 * KIB, 4096 * MIB],
  topics: [1, 100_000],
  subscriptions: [1, 100_000],
  messageBytes: [1 * KIB, 1 * MIB],
  pullBytes: [4 * KIB, 16 * MIB],
  outstandingRequests: [1, 64],
}

/** The table with an owner's changes. @throws TypeError for a value that is not a whole number in its range. */
export function constraintTable(overrides: ConstraintOverrides = {}): Readonly<Record<PeerClass, ClassLimits>> {
  const table = { ...DEFAULT_CONSTRAINTS }
  for (const name of PEER_CLASSES) {
    const merged = { ...table[name], ...overrides[name] }
    for (const [key, [low, high]] of Object.entries(LIMIT_RANGES) as [keyof ClassLimits, readonly [number, number]][]) {
      const value = merged[key]
      if (!Number.isInteger(value) || value < low || value > high) throw new TypeError(`limits.${name}.${key} must be a whole number from ${low} to ${high}`)
    }
    table[name] = merged
  }
  return table
}

/** Where a class begins, in basis points of standing (PN-11). */
export const CLASS_SCORE: Readonly<Record<PeerClass, number>> = { isolated: 0, known: 1_000, partner: 4_000, federated: 7_000 }

export function isPeerClass(text: string): text is PeerClass {
  return (PEER_CLASSES as readonly string[]).includes(text)
}

/** Whether `held` is at least `wanted`. */
export function atLeast(held: PeerClass, wanted: PeerClass): boolean {
  return PEER_CLASSES.indexOf(held) >= PEER_CLASSES.indexOf(wanted)
}
