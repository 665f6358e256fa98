import { compare } from '../core/bytes.ts'
import { createSha256 } from '../core/crypto/hash.ts'
import { compareBounds, END, type Item, idKey, type TopicIndex } from './topic-index.ts'
import { type Bound, type Digest, type DigestRange, FINGERPRINT_BYTES, ID_BYTES, MAX_RANGE_IDS, MAX_RANGES } from './wire.ts'

/**
 * # Range-based set reconciliation
 *
 * Two nodes find out which entries of a topic only one of them has, by comparing fingerprints of ranges of the one order (time, id) and splitting those that differ.
 *
 * ```text
 * A   [start ....................................... end)  fp 100,000          round 0: one range
 * B   [ fp | fp | fp | fp | fp | fp | ... 16 parts ... fp )                    round 1: it differed
 * A          skip    [fp x 16]   skip  [fp x 16]                               round 2: parts that were equal are not mentioned again
 * B                       ids                 ids                              parts of few entries: their ids
 * A   fetches the ids it lacks, announces those that B lacks
 * ```
 *
 * fingerprint = first 16 bytes of SHA-256 over the ids in order. A sum of ids would be cheaper to keep, but whoever chooses ids can make sums collide.
 *
 * A range in which one side has nothing, or next to nothing, is not split but pulled in whole. Neither side remembers anything between rounds but that a conversation is
 * going on: an answer follows from the question and the index. The number of rounds is log16 of the size, and a session has a budget of entries hashed.
 */
export const LEAF = 16
const PARTS = 16
/** The other side has this many times more: pull the range. */
const PULL_FACTOR = 8
/** Parts of one answer, so that frames stay small. */
const FRAME_BYTES = 48 * 1024

/** What came out of a digest. */
export interface Outcome {
  /** The next round, in pieces; empty when nothing is left to compare. */
  readonly answers: readonly Pick<Digest, 'from' | 'ranges'>[]
  /** Ids that the other side has and we lack. */
  readonly wanted: readonly Uint8Array[]
  /** Ids that the other side lacks. */
  readonly lacking: readonly Uint8Array[]
  /** Ranges to pull. */
  readonly pulls: readonly { readonly from: Bound; readonly to: Bound }[]
  /** Entries that were hashed for it. */
  readonly work: number
}

/** The first question: everything between two bounds. */
export function firstDigest(index: TopicIndex, from: Bound, upper: Bound = END): { readonly from: Bound; readonly ranges: readonly DigestRange[] } {
  const start = index.before(from)
  return { from, ranges: [{ upper, ...fingerprinted(index, start, Math.max(start, index.before(upper))) }] }
}

/**
 * Answers a digest. `floor`: nothing before it is talked about, because it is not kept.
 * @returns undefined for ranges that do not rise.
 */
export function answerDigest(index: TopicIndex, digest: Pick<Digest, 'from' | 'ranges'>, floor: Bound): Outcome | undefined {
  if (!rises(digest)) return undefined
  const writer = new AnswerWriter(compareBounds(digest.from, floor) < 0 ? floor : digest.from)
  const wanted: Uint8Array[] = []
  const lacking: Uint8Array[] = []
  const pulls: { from: Bound; to: Bound }[] = []
  let work = 0
  let lower = digest.from
  for (const range of digest.ranges) {
    const { upper } = range
    const from = compareBounds(lower, floor) < 0 ? floor : lower
    lower = upper
    if (range.mode === 'skip' || compareBounds(upper, from) <= 0) {
      writer.skip(upper)
      continue
    }
    const start = index.before(from)
    const end = upper === END ? index.size : index.before(upper)
    const mine = end - start
    if (range.mode === 'ids' && mine > MAX_RANGE_IDS) {
      // Nobody who saw our fingerprint answers with so few: go on asking instead of announcing everything.
      work += mine
      split(index, start, end, upper, writer)
      continue
    }
    if (range.mode === 'ids') {
      const told = compareIds(index, start, end, range.ids)
      wanted.push(...told.wanted)
      lacking.push(...told.lacking)
      writer.skip(upper)
      continue
    }
    const theirs = range.count
    if (mine === theirs) {
      work += mine
      if (mine === 0 || compare(fingerprintOf(index, start, end), range.fingerprint) === 0) {
        writer.skip(upper)
        continue
      }
    }
    if (mine <= LEAF && theirs >= PULL_FACTOR * Math.max(mine, LEAF / PULL_FACTOR)) {
      pulls.push({ from, to: upper })
      for (let i = start; i < end; i++) lacking.push((index.items[i] as Item).id)
      writer.skip(upper)
    } else if (mine <= 2 * LEAF) {
      writer.add({ upper, mode: 'ids', ids: idsOf(index, start, end) })
    } else {
      work += mine
      split(index, start, end, upper, writer)
    }
  }
  return { answers: writer.finish(), wanted, lacking, pulls, work }
}

function rises({ from, ranges }: Pick<Digest, 'from' | 'ranges'>): boolean {
  let lower = from
  for (const { upper } of ranges) {
    if (compareBounds(upper, lower) <= 0) return false
    lower = upper
  }
  return true
}

function split(index: TopicIndex, start: number, end: number, upper: Bound, writer: AnswerWriter): void {
  const parts = Math.min(PARTS, Math.ceil((end - start) / LEAF))
  for (let part = 0; part < parts; part++) {
    const from = start + Math.floor(((end - start) * part) / parts)
    const to = start + Math.floor(((end - start) * (part + 1)) / parts)
    writer.add({ upper: part === parts - 1 ? upper : boundBetween(index, to), ...fingerprinted(index, from, to) })
  }
}

/** The shortest bound that has entry `at` behind it and the one before in front of it. */
export function boundBetween(index: TopicIndex, at: number): Bound {
  const item = index.items[at] as Item
  const previous = index.items[at - 1]
  if (previous === undefined || previous.timeMs < item.timeMs) return { timeMs: item.timeMs, prefix: new Uint8Array(0) }
  let length = 0
  while (length < ID_BYTES && previous.id[length] === item.id[length]) length++
  return { timeMs: item.timeMs, prefix: item.id.slice(0, length + 1) }
}

function fingerprinted(index: TopicIndex, start: number, end: number): { mode: 'fingerprint'; count: number; fingerprint: Uint8Array } {
  return { mode: 'fingerprint', count: end - start, fingerprint: fingerprintOf(index, start, end) }
}

/** Ids are put together in pieces: hashing them one by one costs ten times as much. */
const piece = new Uint8Array(1024 * ID_BYTES)

export function fingerprintOf(index: TopicIndex, start: number, end: number): Uint8Array {
  const state = createSha256()
  let used = 0
  for (let i = start; i < end; i++) {
    piece.set((index.items[i] as Item).id, used)
    used += ID_BYTES
    if (used === piece.length) {
      state.update(piece)
      used = 0
    }
  }
  state.update(piece.subarray(0, used))
  return state.digest().slice(0, FINGERPRINT_BYTES)
}

function idsOf(index: TopicIndex, start: number, end: number): Uint8Array[] {
  return index.items.slice(start, end).map(({ id }) => id)
}

function compareIds(index: TopicIndex, start: number, end: number, told: readonly Uint8Array[]): { wanted: Uint8Array[]; lacking: Uint8Array[] } {
  const theirs = new Set(told.map(idKey))
  const lacking: Uint8Array[] = []
  for (let i = start; i < end; i++) {
    const item = index.items[i] as Item
    if (!theirs.has(item.key)) lacking.push(item.id)
  }
  return { wanted: told.filter((id) => index.get(idKey(id)) === undefined), lacking }
}

/** Joins what is skipped and cuts what becomes too long. */
class AnswerWriter {
  readonly #answers: Pick<Digest, 'from' | 'ranges'>[] = []
  #from: Bound
  #ranges: DigestRange[] = []
  #bytes = 0
  /** Up to here nothing is to be said. */
  #at: Bound

  constructor(from: Bound) {
    this.#from = from
    this.#at = from
  }

  skip(upper: Bound): void {
    if (compareBounds(upper, this.#at) > 0) this.#at = upper
  }

  add(range: DigestRange): void {
    if (this.#bytes > FRAME_BYTES || this.#ranges.length > MAX_RANGES - 2) this.#cut()
    if (this.#ranges.length === 0) this.#from = this.#at
    else if (compareBounds(this.#at, (this.#ranges.at(-1) as DigestRange).upper) > 0) this.#ranges.push({ upper: this.#at, mode: 'skip' })
    this.#ranges.push(range)
    this.#at = range.upper
    this.#bytes += 60 + (range.mode === 'ids' ? range.ids.length * ID_BYTES : 0)
  }

  finish(): Pick<Digest, 'from' | 'ranges'>[] {
    if (this.#ranges.length > 0) this.#cut()
    return this.#answers
  }

  #cut(): void {
    this.#answers.push({ from: this.#from, ranges: this.#ranges })
    this.#ranges = []
    this.#bytes = 0
  }
}
