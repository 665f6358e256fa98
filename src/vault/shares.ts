import { combine, split } from 'shamir-secret-sharing'
import { equal, equalSecret, toHex, utf8 } from '../core/bytes.ts'
import { hashLabeled } from '../core/crypto/labels.ts'
import { KithError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'
import { Secret } from '../core/secret.ts'
import { entropyOfPhrase, phraseOfEntropy } from './bip39.ts'
import { decodeShare, encodeShare, type Share } from './shares-text.ts'

/**
 * # Shares of the recovery phrase
 *
 * ```text
 * entropy of the phrase || first 4 bytes of H("icn/phrase-shares/v1", entropy)   -- Shamir over GF(256), byte by byte -->   n shares, any t give it back
 * ```
 *
 * Fewer than `t` shares tell nothing of the phrase but its length. The digest is shared with it, so it helps nobody to guess; it tells whether what came out is what
 * was cut: a share that its holder changed, with a good checksum, gives another phrase, and with it another identity, in silence otherwise.
 *
 * Each cutting has a random set id. The library works on ordinary memory: what is ours of that is zeroed; its polynomials, and so parts of the phrase, stay in the
 * heap of the process until that is collected. It is meant for a command that ends.
 */
export const MIN_THRESHOLD = 2
export const MAX_SHARES = 16
const LABEL = 'icn/phrase-shares/v1'
const DIGEST_BYTES = 4
const SET_ID_BYTES = 4

export interface CutShares {
  /** 8 hexadecimal digits: tells sets apart. */
  readonly setId: string
  /** The text of each share, to be written down; the caller wipes them. */
  readonly shares: readonly Secret[]
}

export interface SharesOptions {
  readonly threshold: number
  readonly shares: number
  /** For the set id; the polynomials are drawn by the library from the system. */
  readonly random: Random
}

/** Cuts a phrase, which stays the caller's. @throws KithError `USAGE` for other numbers than 2 <= threshold <= shares <= 16, `PHRASE_INVALID`. */
export async function cutShares(phrase: Secret, { threshold, shares, random }: SharesOptions): Promise<CutShares> {
  const whole = [threshold, shares].every(Number.isInteger)
  if (!whole || threshold < MIN_THRESHOLD || threshold > shares || shares > MAX_SHARES) {
    throw new KithError('USAGE', `Shares are cut with ${MIN_THRESHOLD} <= threshold <= shares <= ${MAX_SHARES}.`, { next: 'kith id shares --help' })
  }
  const entropy = entropyOfPhrase(phrase)
  const secret = entropy.use((bytes) => {
    const content = new Uint8Array(bytes.length + DIGEST_BYTES)
    content.set(bytes)
    content.set(digestOf(bytes), bytes.length)
    return content
  })
  entropy.wipe()
  const setId = random.bytes(SET_ID_BYTES)
  try {
    const points = await split(secret, shares, threshold)
    return { setId: toHex(setId), shares: points.map((point, i) => encodeShare({ threshold, count: shares, number: i + 1, setId, point })) }
  } finally {
    secret.fill(0)
  }
}

/**
 * The phrase of as many shares as the set needs, or more; the texts stay the caller's, who wipes the phrase.
 * @throws KithError `SHARE_DAMAGED` (details.share: which of those given, from 1), `SHARES_MIXED`, `SHARES_TOO_FEW` (details.missing), `SHARES_WRONG`.
 */
export async function combineShares(texts: readonly Secret[]): Promise<Secret> {
  const shares = distinct(texts.map((text, i) => decodeShare(text, i + 1)))
  try {
    checkSet(shares)
    const joined = await combine(shares.map(({ point }) => point))
    try {
      return phraseOf(joined)
    } finally {
      joined.fill(0)
    }
  } finally {
    for (const { point } of shares) point.fill(0)
  }
}

/** A share given twice counts once. */
function distinct(shares: readonly Share[]): readonly Share[] {
  return shares.filter((share, i) => !shares.slice(0, i).some((other) => equal(other.point, share.point) && equal(other.setId, share.setId)))
}

function checkSet(shares: readonly Share[]): void {
  const first = shares[0]
  if (first === undefined) throw new KithError('SHARES_TOO_FEW', 'No share was given.', { next: 'kith init --restore-shares' })
  const sameSet = shares.every(
    ({ setId, threshold, count, point }) =>
      equal(setId, first.setId) && threshold === first.threshold && count === first.count && point.length === first.point.length,
  )
  if (!sameSet) {
    const sets = [...new Set(shares.map(({ setId }) => toHex(setId)))]
    throw new KithError('SHARES_MIXED', `These are shares of ${sets.length} sets: ${sets.join(', ')}.`, {
      details: { sets },
      next: 'give shares with the same set id: kith init --restore-shares',
    })
  }
  const places = new Set(shares.map(({ point }) => point.at(-1)))
  const numbers = new Set(shares.map(({ number }) => number))
  if (places.size !== shares.length || numbers.size !== shares.length) throw wrong('two of them claim the same place')
  const missing = first.threshold - shares.length
  if (missing > 0) {
    throw new KithError('SHARES_TOO_FEW', `${first.threshold} shares of set ${toHex(first.setId)} are needed; ${shares.length} are here.`, {
      details: { threshold: first.threshold, given: shares.length, missing },
      next: `bring ${missing} more of this set: kith init --restore-shares`,
    })
  }
}

function phraseOf(joined: Uint8Array): Secret {
  const length = joined.length - DIGEST_BYTES
  const bytes = joined.subarray(0, length)
  if (!equalSecret(digestOf(bytes), joined.subarray(length))) throw wrong('what they give together is not what was cut')
  const entropy = Secret.take(bytes)
  try {
    return phraseOfEntropy(entropy)
  } finally {
    entropy.wipe()
  }
}

function digestOf(entropy: Uint8Array): Uint8Array {
  return hashLabeled(LABEL, utf8('entropy'), entropy).subarray(0, DIGEST_BYTES)
}

function wrong(reason: string): KithError {
  return new KithError('SHARES_WRONG', `At least one of these shares is not genuine: ${reason}.`, {
    details: { reason },
    next: 'leave one out and put another in its place: kith init --restore-shares',
  })
}
