import type { ConstraintSet, PeerClass } from './types.ts'

/** From least to most trusted. */
export const PEER_CLASSES: readonly PeerClass[] = ['isolated', 'known', 'partner', 'federated']

const KIB = 1024
const MIB = 1024 * KIB

/** Limits per class. Messages and bursts are those of the founding texts; links are connections of one DID, streams are those open on all of them in both directions, bytes are buffers per DID. */
export const DEFAULT_CONSTRAINTS: Readonly<Record<PeerClass, ConstraintSet>> = {
  isolated: { messagesPerSecond: 10, burst: 5, links: 5, streams: 32, bufferBytes: 1 * MIB },
  known: { messagesPerSecond: 20, burst: 10, links: 10, streams: 256, bufferBytes: 32 * MIB },
  partner: { messagesPerSecond: 100, burst: 25, links: 20, streams: 512, bufferBytes: 64 * MIB },
  federated: { messagesPerSecond: 200, burst: 50, links: 20, streams: 1_024, bufferBytes: 128 * MIB },
}

export type ConstraintOverrides = { readonly [C in PeerClass]?: Partial<ConstraintSet> }

const LIMITS: Readonly<Record<keyof ConstraintSet, readonly [number, number]>> = {
  messagesPerSecond: [1, 1_000_000],
  burst: [1, 1_000_000],
  links: [1, 64],
  streams: [1, 65_536],
  bufferBytes: [64 * KIB, 4096 * MIB],
}

/** The table with an owner's changes. @throws TypeError for a value that is not a whole number in its range. */
export function constraintTable(overrides: ConstraintOverrides = {}): Readonly<Record<PeerClass, ConstraintSet>> {
  const table = { ...DEFAULT_CONSTRAINTS }
  for (const name of PEER_CLASSES) {
    const merged = { ...table[name], ...overrides[name] }
    for (const [key, [low, high]] of Object.entries(LIMITS) as [keyof ConstraintSet, readonly [number, number]][]) {
      const value = merged[key]
      if (!Number.isInteger(value) || value < low || value > high) throw new TypeError(`limits.${name}.${key} must be a whole number from ${low} to ${high}`)
    }
    table[name] = merged
  }
  return table
}

export function isPeerClass(text: string): text is PeerClass {
  return (PEER_CLASSES as readonly string[]).includes(text)
}

/** Whether `held` is at least `wanted`. */
export function atLeast(held: PeerClass, wanted: PeerClass): boolean {
  return PEER_CLASSES.indexOf(held) >= PEER_CLASSES.indexOf(wanted)
}
