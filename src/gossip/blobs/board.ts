import { equal } from '../../core/bytes.ts'
import { type BlobRef, chunkCount, chunksInPage, HASH_BYTES, hashAt, PAGE_CHUNKS, pageCount, pageHash, rootHash } from './layout.ts'
import type { Pace } from './pace.ts'
import { MAX_GET_CHUNKS, type Span } from './wire.ts'

/** What a provider is asked for next. */
export type Task = { readonly kind: 'page'; readonly page: number } | ({ readonly kind: 'span' } & Span)

interface OpenPage {
  /** Absent until a provider has sent them and the top confirmed them. */
  hashes: Uint8Array | undefined
  /** Loaded, and what lay on the disk already was looked at. */
  ready: boolean
  /** Per chunk: missing, asked or kept. */
  readonly state: Uint8Array
  left: number
  readonly askers: Set<Pace>
  askedAt: number
}

const MISSING = 0
const ASKED = 1
const KEPT = 2
/** Pages whose hashes are at hand: 8 KiB each. The window of a transfer is 256 MiB of content. */
const OPEN_PAGES = 16
/** Providers asked for the same chunk at the end of a transfer. */
const MAX_ASKERS = 2
/** A page that is not there after this long is asked for elsewhere too. */
const PAGE_PATIENCE_MS = 2_000

/**
 * Which chunks are kept, which are asked of whom, and what to ask next. No I/O and no clock of its own.
 *
 * Pages are opened in order, a few at a time; within them every provider takes the next chunks nobody has been asked for. When there are none left, a provider
 * that is idle takes over chunks of the one that would need longest for them: the slow and the silent lose what they hold back.
 */
export class Board {
  readonly ref: BlobRef
  /** Chunks that are not kept yet. */
  left: number
  #top: Uint8Array | undefined
  readonly #pages: Map<number, OpenPage> = new Map()
  #nextPage = 0
  /** Chunks asked for and not kept: by whom. */
  readonly #asked: Map<number, Pace[]> = new Map()

  constructor(ref: BlobRef) {
    this.ref = ref
    this.left = chunkCount(ref.size)
    if (pageCount(ref.size) === 0) this.setTop(new Uint8Array(0))
  }

  get hasTop(): boolean {
    return this.#top !== undefined
  }

  get done(): boolean {
    return this.left === 0 && this.#top !== undefined
  }

  /** Whether these are the page hashes of the blob; keeps them when so. */
  setTop(top: Uint8Array): boolean {
    if (!equal(rootHash(this.ref.size, top), this.ref.root)) return false
    this.#top ??= top
    return true
  }

  /** What this provider is asked for at the moment, if anything. */
  next(pace: Pace, now: number): Task | undefined {
    return this.#fresh(pace) ?? this.#open(pace, now) ?? this.#takeOver(pace, now)
  }

  /** Whether these are the chunk hashes of a page; keeps them when so. `true` also for a page that is known or done with already. */
  setPage(index: number, hashes: Uint8Array): boolean {
    if (this.#top === undefined || !equal(pageHash(hashes), hashAt(this.#top, index))) return false
    const page = this.#pages.get(index)
    if (page !== undefined) page.hashes ??= hashes
    return true
  }

  /** Whether a page waits for `pageReady`. Only one caller is told so. */
  examines(index: number): boolean {
    const page = this.#pages.get(index)
    if (page?.hashes === undefined || page.ready || page.askers.size === 0) return false
    // Nobody else asks for it any more, and its askers are not told twice.
    page.askers.clear()
    return true
  }

  /** From now on chunks of the page are given out. */
  pageReady(index: number): void {
    const page = this.#pages.get(index)
    if (page === undefined) return
    page.ready = true
    if (page.left === 0) this.#pages.delete(index)
  }

  /** The hash a chunk must have; `undefined` when its page is done with. */
  hashOf(chunk: number): Uint8Array | undefined {
    const hashes = this.#pages.get(Math.floor(chunk / PAGE_CHUNKS))?.hashes
    return hashes === undefined ? undefined : hashAt(hashes, chunk % PAGE_CHUNKS)
  }

  /** Whether a chunk is still wanted. */
  wants(chunk: number): boolean {
    const page = this.#pages.get(Math.floor(chunk / PAGE_CHUNKS))
    return page !== undefined && page.state[chunk % PAGE_CHUNKS] !== KEPT
  }

  /** A verified chunk lies in the file. False when it did already. */
  keep(chunk: number): boolean {
    const index = Math.floor(chunk / PAGE_CHUNKS)
    const page = this.#pages.get(index)
    if (page === undefined || page.state[chunk % PAGE_CHUNKS] === KEPT) return false
    page.state[chunk % PAGE_CHUNKS] = KEPT
    this.#asked.delete(chunk)
    page.left--
    this.left--
    if (page.left === 0 && page.ready) this.#pages.delete(index)
    return true
  }

  /** The provider is gone, or done with a span: what only it was asked for is missing again. */
  giveBack(pace: Pace): void {
    for (const page of this.#pages.values()) page.askers.delete(pace)
    for (const [chunk, askers] of this.#asked) {
      const rest = askers.filter((other) => other !== pace)
      if (rest.length === askers.length) continue
      if (rest.length > 0) this.#asked.set(chunk, rest)
      else {
        this.#asked.delete(chunk)
        const page = this.#pages.get(Math.floor(chunk / PAGE_CHUNKS))
        if (page !== undefined && page.state[chunk % PAGE_CHUNKS] === ASKED) page.state[chunk % PAGE_CHUNKS] = MISSING
      }
    }
  }

  /** The first chunks nobody was asked for. */
  #fresh(pace: Pace): Task | undefined {
    for (const [index, page] of this.#pages) {
      if (!page.ready) continue
      const start = page.state.indexOf(MISSING)
      if (start === -1) continue
      const most = Math.min(pace.spanChunks, MAX_GET_CHUNKS)
      let count = 0
      while (count < most && page.state[start + count] === MISSING) {
        page.state[start + count] = ASKED
        this.#asked.set(index * PAGE_CHUNKS + start + count, [pace])
        count++
      }
      return { kind: 'span', first: index * PAGE_CHUNKS + start, count }
    }
    return undefined
  }

  #open(pace: Pace, now: number): Task | undefined {
    if (this.#top === undefined) return undefined
    for (const [index, page] of this.#pages) {
      if (page.hashes !== undefined || page.askers.has(pace)) continue
      if (page.askers.size > 0 && now - page.askedAt < PAGE_PATIENCE_MS) continue
      page.askers.add(pace)
      page.askedAt = now
      return { kind: 'page', page: index }
    }
    if (this.#nextPage >= pageCount(this.ref.size) || this.#pages.size >= OPEN_PAGES) return undefined
    const index = this.#nextPage++
    const count = chunksInPage(this.ref.size, index)
    this.#pages.set(index, { hashes: undefined, ready: false, state: new Uint8Array(count), left: count, askers: new Set([pace]), askedAt: now })
    return { kind: 'page', page: index }
  }

  /** Chunks that another provider would deliver much later than this one could. */
  #takeOver(pace: Pace, now: number): Task | undefined {
    const waiting = new Map<Pace, number[]>()
    for (const [chunk, askers] of this.#asked) {
      const first = askers[0]
      if (first === undefined || askers.length >= MAX_ASKERS || askers.includes(pace)) continue
      const list = waiting.get(first)
      if (list === undefined) waiting.set(first, [chunk])
      else list.push(chunk)
    }
    let worst: { readonly chunks: number[]; readonly gain: number } | undefined
    for (const [other, chunks] of waiting) {
      const gain = other.remainingMs(now) - 2 * pace.costMs(1)
      if (gain > 0 && (worst === undefined || gain > worst.gain)) worst = { chunks, gain }
    }
    if (worst === undefined) return undefined
    // The end of what it was asked for: its next chunks may be under way.
    const { chunks } = worst
    const last = chunks[chunks.length - 1] as number
    const page = Math.floor(last / PAGE_CHUNKS)
    const most = Math.min(pace.spanChunks, MAX_GET_CHUNKS, Math.ceil(chunks.length / 2))
    let first = last
    const among = new Set(chunks)
    while (last - first + 1 < most && among.has(first - 1) && Math.floor((first - 1) / PAGE_CHUNKS) === page) first--
    for (let chunk = first; chunk <= last; chunk++) this.#asked.get(chunk)?.push(pace)
    return { kind: 'span', first, count: last - first + 1 }
  }
}

/** Bytes of a page of chunk hashes on the wire. */
export function pageBytes(size: number, page: number): number {
  return chunksInPage(size, page) * HASH_BYTES
}

/** Bytes of the top on the wire. */
export function topBytes(size: number): number {
  return pageCount(size) * HASH_BYTES
}
