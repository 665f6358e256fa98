import type { Clock } from '../core/clock.ts'
import { Lru } from '../core/lru.ts'
import type { Channel, Source } from '../transport/types.ts'
import { TokenBucket } from './admission-rate.ts'
import { sourceKeys, sourceOfPath } from './admission-source.ts'

/**
 * # Before anyone has proved anything
 *
 * ```text
 * socket -> handshake() -> transport handshake -> greeting() -> Hello -> PROOF -> budget of the class (admission-budget.ts)
 *           charged to the source: /32 or /64, and to its /24 or /48; never to a key or a name that was only claimed
 * ```
 *
 * Requirements: memory stays bounded whatever arrives; one source cannot spend what belongs to the others; a quick honest peer gets in while silent
 * ones pile up, even from its own address. So where a limit is reached, the oldest unfinished handshake gives way once it has had a second; only when
 * all of them are younger is the newcomer turned away.
 * Not provided: QUIC's library shakes hands by itself, so there this begins with `greeting()`.
 */
export interface AdmissionLimits {
  /** Handshakes and greetings under way at once: all sources, one network, one source. */
  readonly halfOpen: number
  readonly halfOpenPerNetwork: number
  readonly halfOpenPerSource: number
  /** New ones per second and in one burst: one source, one network, all sources. */
  readonly perSecond: number
  readonly burst: number
  readonly networkPerSecond: number
  readonly networkBurst: number
  /** Sources from which a peer of this node has come have as much again to themselves. */
  readonly totalPerSecond: number
  readonly totalBurst: number
  /** Sources and networks whose rate is remembered, each. */
  readonly sources: number
  /** How long an unfinished one is safe from making room, in ms. */
  readonly graceMs: number
}

export const ADMISSION_LIMITS: AdmissionLimits = {
  halfOpen: 1024,
  halfOpenPerNetwork: 64,
  halfOpenPerSource: 16,
  perSecond: 10,
  burst: 40,
  networkPerSecond: 40,
  networkBurst: 160,
  // A handshake with a greeting costs two to eight milliseconds before anything is proved: a flood must leave time for the links there are.
  totalPerSecond: 200,
  totalBurst: 400,
  sources: 4096,
  graceMs: 1000,
}

export interface Lease {
  /** The handshake or greeting has ended, in whatever way. Idempotent. */
  release(): void
}

export interface AdmissionStatus {
  readonly halfOpen: number
  /** Sources and networks with something half-open, and sources whose rate is remembered. */
  readonly groups: number
  readonly sources: number
  readonly refused: number
  readonly evicted: number
}

export interface Admission {
  /** For `ListenOptions.admit`: undefined turns the source away before a byte is read. */
  handshake(source: Source, evict?: () => void): Lease | undefined
  /** The same budget for an accepted channel until its Hello has ended; making room closes the channel. */
  greeting(channel: Pick<Channel, 'path' | 'close'>): Lease | undefined
  /** A peer that is no stranger has proved itself from there: a flood from elsewhere does not keep it out. */
  welcome(channel: Pick<Channel, 'path'>): void
  readonly status: AdmissionStatus
}

interface Pending {
  readonly source: string
  readonly network: string
  readonly since: number
  readonly evict: (() => void) | undefined
}

export function createAdmission(components: { readonly clock: Clock; readonly limits?: Partial<AdmissionLimits> }): Admission {
  return new SourceAdmission(components.clock, { ...ADMISSION_LIMITS, ...components.limits })
}

class SourceAdmission implements Admission {
  readonly #clock: Clock
  readonly #limits: AdmissionLimits
  /** Insertion order is age: the first of a set is the oldest. */
  readonly #all: Set<Pending> = new Set()
  readonly #bySource: Map<string, Set<Pending>> = new Map()
  readonly #byNetwork: Map<string, Set<Pending>> = new Map()
  readonly #sourceRates: Lru<string, TokenBucket>
  readonly #networkRates: Lru<string, TokenBucket>
  readonly #total: TokenBucket
  readonly #welcomeTotal: TokenBucket
  readonly #welcome: Lru<string, true>
  #refused = 0
  #evicted = 0

  constructor(clock: Clock, limits: AdmissionLimits) {
    this.#clock = clock
    this.#limits = limits
    this.#sourceRates = new Lru(limits.sources)
    this.#networkRates = new Lru(limits.sources)
    this.#total = new TokenBucket(clock, limits.totalPerSecond, limits.totalBurst)
    this.#welcomeTotal = new TokenBucket(clock, limits.totalPerSecond, limits.totalBurst)
    this.#welcome = new Lru(limits.sources)
  }

  get status(): AdmissionStatus {
    return {
      halfOpen: this.#all.size,
      groups: this.#bySource.size + this.#byNetwork.size,
      sources: this.#sourceRates.size,
      refused: this.#refused,
      evicted: this.#evicted,
    }
  }

  handshake(source: Source, evict?: () => void): Lease | undefined {
    const keys = sourceKeys(source.host)
    // Everything local shares one address; its users are this machine's and only the limit of all applies.
    if (!keys.loopback && !this.#mayTry(keys)) return this.#refuse()
    // Last, so that one who is refused anyway takes nothing from the others.
    const total = this.#welcome.get(keys.source) === undefined ? this.#total : this.#welcomeTotal
    if (!total.take()) return this.#refuse()
    return this.#enter(keys, evict)
  }

  welcome(channel: Pick<Channel, 'path'>): void {
    this.#welcome.set(sourceKeys(sourceOfPath(channel.path).host).source, true)
  }

  greeting(channel: Pick<Channel, 'path' | 'close'>): Lease | undefined {
    return this.#enter(sourceKeys(sourceOfPath(channel.path).host), () => channel.close())
  }

  #enter(keys: { source: string; network: string; loopback: boolean }, evict: (() => void) | undefined): Lease | undefined {
    const perSource = keys.loopback ? this.#limits.halfOpen : this.#limits.halfOpenPerSource
    const perNetwork = keys.loopback ? this.#limits.halfOpen : this.#limits.halfOpenPerNetwork
    const room =
      this.#makeRoom(this.#bySource.get(keys.source), perSource) &&
      this.#makeRoom(this.#byNetwork.get(keys.network), perNetwork) &&
      this.#makeRoom(this.#all, this.#limits.halfOpen)
    if (!room) return this.#refuse()
    const pending: Pending = { source: keys.source, network: keys.network, since: this.#clock.monotonic(), evict }
    this.#all.add(pending)
    join(this.#bySource, keys.source, pending)
    join(this.#byNetwork, keys.network, pending)
    return { release: () => this.#remove(pending) }
  }

  /** True when there is room for one more, if need be because the oldest that can be ended was. */
  #makeRoom(group: Set<Pending> | undefined, limit: number): boolean {
    if (group === undefined || group.size < limit) return true
    const oldest = firstWhere(group, (pending) => pending.evict !== undefined)
    if (oldest === undefined || this.#clock.monotonic() - oldest.since < this.#limits.graceMs) return false
    this.#remove(oldest)
    this.#evicted++
    oldest.evict?.()
    return true
  }

  #remove(pending: Pending): void {
    this.#all.delete(pending)
    leave(this.#bySource, pending.source, pending)
    leave(this.#byNetwork, pending.network, pending)
  }

  /** A provider's customer changes its /64 as it likes, so the network around it has a rate too. */
  #mayTry({ source, network }: { source: string; network: string }): boolean {
    const { perSecond, burst, networkPerSecond, networkBurst } = this.#limits
    const own = this.#bucket(this.#sourceRates, source, perSecond, burst)
    return own.take() && this.#bucket(this.#networkRates, network, networkPerSecond, networkBurst).take()
  }

  #bucket(rates: Lru<string, TokenBucket>, key: string, perSecond: number, burst: number): TokenBucket {
    const known = rates.get(key)
    if (known !== undefined) return known
    const made = new TokenBucket(this.#clock, perSecond, burst)
    rates.set(key, made)
    return made
  }

  #refuse(): undefined {
    this.#refused++
    return undefined
  }
}

function join(groups: Map<string, Set<Pending>>, key: string, pending: Pending): void {
  const group = groups.get(key)
  if (group === undefined) groups.set(key, new Set([pending]))
  else group.add(pending)
}

function leave(groups: Map<string, Set<Pending>>, key: string, pending: Pending): void {
  const group = groups.get(key)
  if (group === undefined) return
  group.delete(pending)
  if (group.size === 0) groups.delete(key)
}

function firstWhere(group: Set<Pending>, matches: (pending: Pending) => boolean): Pending | undefined {
  for (const pending of group) if (matches(pending)) return pending
  return undefined
}
