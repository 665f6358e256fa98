import { equal } from '../core/bytes.ts'
import type { Clock, Timer } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import { schemeOf } from './addresses.ts'
import type { Candidate, Dialer } from './dialer.ts'
import { type Link, type LinkTable, MAX_AGE_MS } from './link-table.ts'

/** A fresh link is left alone for this long; afterwards each link is looked at in this rhythm. */
const SETTLE_MS = 5_000
const LOOK_MS = 10_000
/** A way that was tried waits this long, doubling up to the second. */
const RETRY_MS = 300_000
const RETRY_MAX_MS = 3_600_000

/**
 * Looks for better paths behind running links: when an address over a better liked scheme is known, it is dialled in the background, and the leader moves the
 * link over without dropping anything (PN-8). A link older than a day is replaced by a fresh one in the same way (PN-3).
 */
export class Upgrader {
  readonly #clock: Clock
  readonly #table: () => LinkTable
  readonly #dialer: Dialer
  /** Per link and URL: when it may be tried again, and the pause after that. */
  readonly #pauses: Map<string, { until: number; pauseMs: number }> = new Map()
  #stop: AbortController = new AbortController()
  #timer: Timer | undefined
  #busy = false

  constructor(clock: Clock, table: () => LinkTable, dialer: Dialer) {
    this.#clock = clock
    this.#table = table
    this.#dialer = dialer
  }

  start(): void {
    this.#stop = new AbortController()
    this.#arm()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#stop.abort(new KithError('CLOSED'))
    this.#pauses.clear()
  }

  #arm(): void {
    this.#timer = this.#clock.after(LOOK_MS, () => {
      this.#arm()
      if (!this.#busy) void this.look()
    })
  }

  /** One round over all links, one dial at a time. */
  async look(): Promise<void> {
    this.#busy = true
    try {
      for (const link of [...this.#table().links()]) {
        if (this.#stop.signal.aborted) return
        const candidate = this.#better(link)
        if (candidate === undefined) continue
        this.#pause(link, candidate)
        // What went wrong is remembered for `why`; the link runs on as it is.
        await this.#dialer.attempt(link.did, candidate, this.#stop.signal).catch(() => undefined)
      }
    } finally {
      this.#busy = false
    }
  }

  #better(link: Link): Candidate | undefined {
    const { current } = link
    const now = this.#clock.monotonic()
    // A stranger could name any host of our network by announcing it as its own address.
    if (!this.#dialer.wanted(link.did)) return undefined
    if (current === undefined || now - current.startedMs < SETTLE_MS || link.members.size > 1) return undefined
    const aged = now - current.startedMs > MAX_AGE_MS
    const rank = this.#dialer.rank(current.path.scheme)
    return this.#dialer
      .candidates(link.did)
      .filter(({ linkKey }) => linkKey === undefined || equal(linkKey, link.linkKey))
      .filter(({ url }) => !current.path.direct || aged || this.#dialer.rank(schemeOf(url)) < rank)
      .find((candidate) => (this.#pauses.get(keyOf(link, candidate))?.until ?? 0) <= now)
  }

  #pause(link: Link, candidate: Candidate): void {
    const key = keyOf(link, candidate)
    const pauseMs = Math.min(RETRY_MAX_MS, (this.#pauses.get(key)?.pauseMs ?? RETRY_MS / 2) * 2)
    this.#pauses.delete(key)
    this.#pauses.set(key, { until: this.#clock.monotonic() + pauseMs, pauseMs })
    if (this.#pauses.size > 10_000) this.#pauses.delete(this.#pauses.keys().next().value as string)
  }
}

function keyOf(link: Link, candidate: Candidate): string {
  return `${link.key} ${candidate.url}`
}
