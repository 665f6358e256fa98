import type { PeerClass } from '../mesh/types.ts'

/**
 * # The arithmetic of PN-11
 *
 * Whole numbers only, basis points 0..10000, so that every machine computes the same score.
 *
 * ```text
 * S = 2^20; q = S
 * for each path me -a-> m -b-> t, in order of m's key:   c = floor(a*b*S / 10^8);  q = floor(q*(S - c) / S)
 * T = min( max a, floor((S - q)*10000 / S) )
 * score = floor((d*Wd + T*Wt) / 10000);  if d == 0: min(score, 3999)
 * ```
 * Every product stays below 2^53 (a*b*S <= 10^8 * 2^20), so doubles are exact, and so are the floors: the divisors are 2^20 and 10^8, and a quotient's
 * fraction is a multiple of 10^-8, far above the rounding of a double below 2^20.
 */
export const FULL = 10_000
const S = 2 ** 20
/** A stranger, whoever introduces it, is at most Known. */
export const STRANGER_LIMIT = 3_999

/** How much the own edge and the introductions weigh, in basis points; together at most 10000. */
export interface ScoreWeights {
  readonly direct: number
  readonly transitive: number
}

/** Weight of one path: its share of the noisy-or, of `2^20`. */
export function pathShare(first: number, second: number): number {
  return Math.floor((first * second * S) / 100_000_000)
}

/** Folds paths one after another; the order (by the introducer's key) matters for the last digit. */
export class NoisyOr {
  #rest = S
  #best = 0

  add(first: number, second: number): void {
    this.#rest = Math.floor((this.#rest * (S - pathShare(first, second))) / S)
    if (first > this.#best) this.#best = first
  }

  /** The transitive part T. */
  get value(): number {
    return Math.min(this.#best, Math.floor(((S - this.#rest) * FULL) / S))
  }
}

export function scoreOf(direct: number, transitive: number, weights: ScoreWeights): number {
  const score = Math.floor((direct * weights.direct + transitive * weights.transitive) / FULL)
  return direct === 0 ? Math.min(score, STRANGER_LIMIT) : score
}

/** The lowest score of each class; a score on the boundary belongs to the higher class, everywhere. */
export const CLASS_FLOOR: Readonly<Record<PeerClass, number>> = { isolated: 0, known: 1_000, partner: 4_000, federated: 7_000 }

export function classOfScore(score: number): PeerClass {
  if (score >= CLASS_FLOOR.federated) return 'federated'
  if (score >= CLASS_FLOOR.partner) return 'partner'
  return score >= CLASS_FLOOR.known ? 'known' : 'isolated'
}

/** @throws TypeError unless both are whole basis points that together stay within 10000: a score would leave its range. */
export function checkWeights({ direct, transitive }: ScoreWeights): void {
  if (!isBasisPoints(direct) || !isBasisPoints(transitive) || direct + transitive > FULL) {
    throw new TypeError(`weights are basis points of 10000 together at most: ${direct}, ${transitive}`)
  }
}

export function isBasisPoints(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= FULL
}
