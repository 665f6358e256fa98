import type { Clock } from '../../core/clock.ts'

/** How many connections a front holds. */
export interface FrontLimits {
  /** All of them. Default 4,096. */
  readonly connections?: number
  /** From one IPv4 address or one IPv6 /64. Default 128. */
  readonly perSource?: number
}

/** What one connection takes of a front. */
export interface FrontPlace {
  /** The connection has said what it wants and gets it from the site. Idempotent. */
  serve(): void
  /** It has ended, or is counted by somebody else. Idempotent. */
  release(): void
}

/** How long a connection is safe from making room: who is quick gets through while silent ones pile up. */
const GRACE_MS = 1_000

interface Held extends FrontPlace {
  readonly since: number
  readonly evict: () => void
}

/** Those of one source or network, in order of arrival. */
interface Group {
  readonly waiting: Set<Held>
  readonly served: Set<Held>
}

/**
 * Counts connections by where they come from, so that one source cannot take every place, and a few networks together cannot keep them: where all are taken, the
 * network that has most gives up its oldest, one that has said nothing before one that is served. A source that has all it may have gives up only what has
 * said nothing. Nothing younger than a second makes room.
 */
export class FrontGuard {
  readonly #clock: Clock
  readonly #total: number
  readonly #perSource: number
  readonly #sources: Map<string, Group> = new Map()
  readonly #networks: Map<string, Group> = new Map()
  #held = 0

  constructor(clock: Clock, limits: FrontLimits = {}) {
    this.#clock = clock
    this.#total = limits.connections ?? 4_096
    this.#perSource = limits.perSource ?? 128
  }

  get held(): number {
    return this.#held
  }

  /** A place for a connection from this IP address, or undefined when there is none. `evict` ends it in order to make room; its place is free already then. */
  admit(host: string, evict: () => void): FrontPlace | undefined {
    const { source, network } = groupsOf(host)
    const own = this.#sources.get(source)
    if (own !== undefined && sizeOf(own) >= this.#perSource && !this.#makeRoom(own.waiting)) return undefined
    if (this.#held >= this.#total) {
      const crowd = this.#mostCrowded()
      if (crowd === undefined || (!this.#makeRoom(crowd.waiting) && !this.#makeRoom(crowd.served))) return undefined
    }
    return this.#place(source, network, evict)
  }

  #place(source: string, network: string, evict: () => void): FrontPlace {
    const groups = [groupIn(this.#sources, source), groupIn(this.#networks, network)]
    const held: Held = {
      since: this.#clock.monotonic(),
      evict,
      serve: () => {
        for (const { waiting, served } of groups) if (waiting.delete(held)) served.add(held)
      },
      release: () => {
        let found = false
        for (const { waiting, served } of groups) found = waiting.delete(held) || served.delete(held) || found
        if (!found) return
        this.#held--
        for (const [map, key] of [
          [this.#sources, source],
          [this.#networks, network],
        ] as const) {
          const group = map.get(key)
          if (group !== undefined && sizeOf(group) === 0) map.delete(key)
        }
      },
    }
    this.#held++
    for (const { waiting } of groups) waiting.add(held)
    return held
  }

  /** Ends the oldest of these, if it has had its second. */
  #makeRoom(places: ReadonlySet<Held>): boolean {
    const [oldest] = places
    if (oldest === undefined || this.#clock.monotonic() - oldest.since < GRACE_MS) return false
    oldest.release()
    oldest.evict()
    return true
  }

  #mostCrowded(): Group | undefined {
    let most: Group | undefined
    for (const group of this.#networks.values()) if (most === undefined || sizeOf(group) > sizeOf(most)) most = group
    return most
  }
}

function sizeOf({ waiting, served }: Group): number {
  return waiting.size + served.size
}

function groupIn(groups: Map<string, Group>, key: string): Group {
  const group = groups.get(key) ?? { waiting: new Set(), served: new Set() }
  groups.set(key, group)
  return group
}

/** One household has a whole IPv6 /64; what one customer of a provider gets at most is a /48, or an IPv4 /24. */
function groupsOf(host: string): { readonly source: string; readonly network: string } {
  if (!host.includes(':')) return { source: host, network: host.split('.').slice(0, 3).join('.') }
  const [head = '', tail] = host.split('%')[0]?.split('::') ?? []
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':')
    while (groups.length + after.length < 8) groups.push('0')
    groups.push(...after)
  }
  return { source: groups.slice(0, 4).join(':'), network: groups.slice(0, 3).join(':') }
}
