import { concat, toHex, utf8 } from '../core/bytes.ts'
import { sha256 } from '../core/crypto/hash.ts'

/**
 * What counts against a peer (PN-10), with the weights of the founding texts: minor 1, major 5, critical 10. Seen first-hand on a link of the device, or proved
 * by the device's own signatures. The order is the one on disk: new kinds go to the end.
 */
export const VIOLATION_KINDS = [
  'malformed-frame',
  'invalid-signature',
  'protocol-state',
  'hard-limit',
  'equivocation',
  'chain-fork',
  'conflicting-ledger-entries',
] as const
export type ViolationKind = (typeof VIOLATION_KINDS)[number]

/** Kinds that nobody's word is needed for: the bytes prove them. */
export type ProofKind = Extract<ViolationKind, 'equivocation' | 'chain-fork' | 'conflicting-ledger-entries'>

export const DEFAULT_WEIGHTS: Readonly<Record<ViolationKind, number>> = {
  'malformed-frame': 5,
  'invalid-signature': 5,
  'protocol-state': 5,
  'hard-limit': 1,
  equivocation: 10,
  'chain-fork': 10,
  'conflicting-ledger-entries': 10,
}

export const FULL_REPUTATION = 10_000
const HOUR_MS = 3_600_000
const DAY_MS: number = 24 * HOUR_MS
/** PN-10, rule 5: however often, and whatever the clock said when it was set. */
export const MAX_BAN_MS: number = 30 * DAY_MS

export interface StandingRules {
  readonly weights: Readonly<Record<ViolationKind, number>>
  /** What one point of weight takes from a reputation, in basis points. */
  readonly penalty: number
  /** What an hour without a ban gives back, in basis points. */
  readonly recoveryPerHour: number
  /** A reputation below the first is quarantined until it has reached the second. */
  readonly quarantineBelow: number
  readonly releaseAt: number
  /** The first ban; each further one lasts twice as long, up to 30 days. */
  readonly banMs: number
  /** How long a single violation is remembered. */
  readonly retainMs: number
  readonly violationsPerPeer: number
  /** Peers with something against them, those apart that the owner knows. */
  readonly tracked: number
  /** Of them, peers that were never met: all there is against them is evidence that others passed on. */
  readonly told: number
  /** Bytes of evidence kept in all; the oldest goes first. */
  readonly evidenceBytes: number
}

export const STANDING_RULES: StandingRules = {
  weights: DEFAULT_WEIGHTS,
  penalty: 500,
  recoveryPerHour: 100,
  quarantineBelow: 5_000,
  releaseAt: 6_000,
  banMs: HOUR_MS,
  retainMs: 7 * DAY_MS,
  violationsPerPeer: 100,
  tracked: 10_000,
  told: 1_000,
  evidenceBytes: 16 * 1024 * 1024,
}

export type StandingOverrides = Partial<Omit<StandingRules, 'weights'>> & { readonly weights?: Partial<Record<ViolationKind, number>> }

const RANGES: Readonly<Record<keyof Omit<StandingRules, 'weights'>, readonly [number, number]>> = {
  penalty: [1, FULL_REPUTATION],
  recoveryPerHour: [0, FULL_REPUTATION],
  quarantineBelow: [0, FULL_REPUTATION],
  releaseAt: [0, FULL_REPUTATION],
  banMs: [1_000, MAX_BAN_MS],
  retainMs: [HOUR_MS, 365 * DAY_MS],
  violationsPerPeer: [1, 100],
  tracked: [1, 1_000_000],
  told: [1, 1_000_000],
  evidenceBytes: [0, 1024 * 1024 * 1024],
}

/** The rules with an owner's changes. @throws TypeError for a value that is not a whole number in its range. */
export function standingRules(overrides: StandingOverrides = {}): StandingRules {
  const rules: StandingRules = { ...STANDING_RULES, ...overrides, weights: { ...DEFAULT_WEIGHTS, ...overrides.weights } }
  const check = (name: string, value: number, low: number, high: number): void => {
    if (!Number.isInteger(value) || value < low || value > high) throw new TypeError(`standing.${name} must be a whole number from ${low} to ${high}`)
  }
  for (const [name, [low, high]] of Object.entries(RANGES)) check(name, rules[name as keyof typeof RANGES], low, high)
  for (const kind of VIOLATION_KINDS) check(`weights.${kind}`, rules.weights[kind], 0, 20)
  if (rules.releaseAt < rules.quarantineBelow) throw new TypeError('standing.releaseAt must not be below standing.quarantineBelow')
  return rules
}

/** A reputation at a time. It recovers from `atMs`, which lies ahead while a ban lasts. */
export interface Reputation {
  readonly value: number
  readonly atMs: number
}

/**
 * The reputation now. The time that was paid out is taken off exactly once: what is left of an hour's fraction stays in `atMs`, and a clock that was set back
 * gives nothing twice.
 */
export function recovered({ value, atMs }: Reputation, now: number, rules: Pick<StandingRules, 'recoveryPerHour'>): Reputation {
  const { recoveryPerHour } = rules
  if (value >= FULL_REPUTATION || now <= atMs || recoveryPerHour === 0) return { value, atMs }
  const gained = Math.floor(((now - atMs) * recoveryPerHour) / HOUR_MS)
  if (gained >= FULL_REPUTATION - value) return { value: FULL_REPUTATION, atMs: now }
  return { value: value + gained, atMs: atMs + Math.ceil((gained * HOUR_MS) / recoveryPerHour) }
}

/** How long ban number `count` lasts, counted from 1. */
export function banLength(count: number, rules: Pick<StandingRules, 'banMs'>): number {
  return Math.min(rules.banMs * 2 ** Math.min(count - 1, 32), MAX_BAN_MS)
}

export const MAX_EVIDENCE_BYTES = 65_536

/** Evidence as it is kept: what is longer is cut and ends in the digest of the whole. */
export function clipEvidence(evidence: Uint8Array): { readonly bytes: Uint8Array; readonly clipped: boolean } {
  if (evidence.length <= MAX_EVIDENCE_BYTES) return { bytes: Uint8Array.from(evidence), clipped: false }
  const marker = utf8(`\n[TRUNCATED:sha256=${toHex(sha256(evidence))}]`)
  return { bytes: concat(evidence.subarray(0, MAX_EVIDENCE_BYTES - marker.length), marker), clipped: true }
}
