import type { Clock } from '../core/clock.ts'
import type { Did } from '../identity/did.ts'
import { splitAddress } from './addresses.ts'
import type { Candidate } from './dialer.ts'
import type { FoundPeer } from './discovery.ts'

/** Somebody whom discovery has heard of, as `network peers` lists it. */
export interface DiscoveredPeer {
  /** Null while the announcement hides it. */
  readonly did: Did | null
  readonly name: string | null
  readonly urls: readonly string[]
  /** Which discovery heard of it. */
  readonly source: string
  readonly seenMs: number
}

const MAX_FOUND = 1_000
const MAX_URLS = 8
const FORGET_MS = 3_600_000

/** What discovery said lately. Nothing of it is proved, so it only ever suggests where to dial. */
export class FoundPeers {
  readonly #clock: Clock
  readonly #found: Map<string, DiscoveredPeer & { readonly candidates: readonly Candidate[] }> = new Map()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Notes what was heard; true when it may help to reach that peer. */
  hear(source: string, found: FoundPeer): boolean {
    const urls = found.urls.filter((url) => splitAddress(url) !== undefined).slice(0, MAX_URLS)
    const key = `${source} ${found.did ?? urls.join(' ')}`
    const known = this.#found.get(key)
    this.#found.delete(key)
    if (found.gone === true || urls.length === 0) return false
    const candidates = urls.map((url) => ({ url, linkKey: found.linkKey }))
    this.#found.set(key, { did: found.did ?? null, name: found.name?.slice(0, 64) ?? null, urls, source, seenMs: this.#clock.now(), candidates })
    if (this.#found.size > MAX_FOUND) this.#found.delete(this.#found.keys().next().value as string)
    return found.did !== undefined && (known === undefined || urls.some((url) => !known.urls.includes(url)))
  }

  list(): readonly DiscoveredPeer[] {
    this.#expire()
    return [...this.#found.values()].map(({ candidates: _candidates, ...peer }) => peer)
  }

  candidates(did: Did): readonly Candidate[] {
    this.#expire()
    return [...this.#found.values()].filter((peer) => peer.did === did).flatMap(({ candidates }) => candidates)
  }

  clear(): void {
    this.#found.clear()
  }

  #expire(): void {
    const old = this.#clock.now() - FORGET_MS
    for (const [key, { seenMs }] of this.#found) if (seenMs < old) this.#found.delete(key)
  }
}
