import { isIP } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { Lru } from '../core/lru.ts'
import type { SshLimits } from './limits.ts'

export type NotAdmitted = 'connections' | 'address' | 'pending' | 'failures'

/** A place among the connections; each step is counted where it happens, so nothing is checked first and counted later. */
export interface Place {
  /** Logged in: no longer among those who have not. */
  loggedIn(): void
  /** The connection is over. Idempotent. */
  leave(): void
}

/** Addresses whose refused keys are remembered; who has been quiet longest is forgotten first. */
const REMEMBERED = 10_000

/** Counts connections and refused keys by address. */
export class Admission {
  readonly #limits: () => SshLimits
  readonly #clock: Clock
  readonly #connections: Map<string, number> = new Map()
  /** Of those, the ones that have not logged in. */
  readonly #waiting: Map<string, number> = new Map()
  readonly #failures: Lru<string, { count: number; readonly sinceMs: number }> = new Lru(REMEMBERED)
  #all = 0
  #pending = 0

  constructor(limits: () => SshLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  get connections(): number {
    return this.#all
  }

  enter(address: string): Place | NotAdmitted {
    const { connections, connectionsPerAddress, pending, failuresPerAddress } = this.#limits()
    const source = sourceOf(address)
    const here = this.#connections.get(source) ?? 0
    if (over(this.#all, connections)) return 'connections'
    if (over(here, connectionsPerAddress)) return 'address'
    // One address has a quarter of these places, or it would keep everybody else from logging in.
    if (over(this.#pending, pending) || over(this.#waiting.get(source) ?? 0, Math.ceil(pending / 4))) return 'pending'
    if (over(this.#recent(source)?.count ?? 0, failuresPerAddress)) return 'failures'
    this.#all += 1
    this.#pending += 1
    change(this.#connections, source, 1)
    change(this.#waiting, source, 1)
    let waiting = true
    let gone = false
    const loggedIn = (): void => {
      if (!waiting) return
      waiting = false
      this.#pending -= 1
      change(this.#waiting, source, -1)
    }
    return {
      loggedIn,
      leave: () => {
        if (gone) return
        gone = true
        loggedIn()
        this.#all -= 1
        change(this.#connections, source, -1)
      },
    }
  }

  /** A key of this address was refused. */
  failed(address: string): void {
    const source = sourceOf(address)
    const known = this.#recent(source)
    if (known !== undefined) known.count += 1
    else this.#failures.set(source, { count: 1, sinceMs: this.#clock.monotonic() })
  }

  #recent(source: string): { count: number } | undefined {
    const known = this.#failures.get(source)
    if (known === undefined || this.#clock.monotonic() - known.sinceMs < this.#limits().failureWindowMs) return known
    this.#failures.delete(source)
    return undefined
  }
}

function change(counts: Map<string, number>, source: string, by: 1 | -1): void {
  const count = (counts.get(source) ?? 0) + by
  if (count === 0) counts.delete(source)
  else counts.set(source, count)
}

function over(count: number, limit: number): boolean {
  return limit > 0 && count >= limit
}

/** One household or server: an IPv4 address, also when written as IPv6, or a /64. */
export function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined && isIP(mapped) === 4) return mapped
  const bare = address.replace(/%.*$/, '')
  if (isIP(bare) !== 6) return address
  const [head = '', tail] = bare.toLowerCase().split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = tail === undefined ? 0 : 8 - front.length - back.length
  return [...front, ...Array<string>(Math.max(0, missing)).fill('0'), ...back]
    .slice(0, 4)
    .map((part) => Number.parseInt(part, 16).toString(16))
    .join(':')
}
