import type { Clock, Timer } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'
import type { Caller } from './types.ts'

/** What a credential gave when it was used, and how to look again. */
export interface Use {
  readonly powers: ReadonlySet<string>
  readonly expiresMs: number | undefined
  /** What it would give now; `undefined` when it would not come in. */
  readonly still: () => Promise<ReadonlySet<string> | undefined>
}

/** Who came in by a credential that is watched. */
export type TrackedCaller = Caller & { readonly revoked: AbortSignal }

interface Entry {
  readonly controller: AbortController
  readonly timer: Timer | undefined
  use: Use
  /** Counted as taken back already. */
  gone: boolean
}

/** Credentials in use or used, each once, however often. */
const MAX_CREDENTIALS = 10_000

/**
 * Which credentials people came in with, so that those can be told whose credential is taken back. One signal for each credential: it costs nothing to come in often.
 * Beyond the limit the oldest is told too, since nobody would watch over it any more.
 */
export class Tracked {
  readonly #clock: Clock
  readonly #entries: Map<string, Entry> = new Map()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The signal of whoever comes in with this. It fires by itself when the credential expires. */
  add(credential: string, use: Use): AbortSignal {
    const known = this.#entries.get(credential)
    if (known !== undefined) {
      known.gone = false
      // Usually the same again, and asked for with every request.
      const { powers } = known.use
      known.use = [...use.powers].every((power) => powers.has(power)) ? { ...use, powers } : { ...use, powers: new Set([...powers, ...use.powers]) }
      return known.controller.signal
    }
    const [oldest] = this.#entries.keys()
    if (this.#entries.size >= MAX_CREDENTIALS && oldest !== undefined) this.#end(oldest)
    const timer =
      use.expiresMs === undefined ? undefined : this.#clock.after(Math.max(0, use.expiresMs - this.#clock.now()), () => void this.#expired(credential))
    const controller = new AbortController()
    this.#entries.set(credential, { controller, timer, use, gone: false })
    return controller.signal
  }

  /** Somebody came in by it again with the same as before; `false` when it is not watched by that signal any more. */
  again(credential: string, signal: AbortSignal): boolean {
    const known = this.#entries.get(credential)
    if (known?.controller.signal !== signal) return false
    known.gone = false
    return true
  }

  /**
   * How many would not come in any more, or with less, each counted once; with `disconnect` all of those are told and forgotten.
   * @throws what a source failed with, when all others were looked at: one that is not there keeps nobody else in.
   */
  async recheck({ disconnect }: { readonly disconnect: boolean }): Promise<number> {
    let gone = 0
    const failures: unknown[] = []
    for (const [credential, entry] of [...this.#entries]) {
      const now = await entry.use.still().catch((error: unknown) => {
        failures.push(error)
        return entry.use.powers
      })
      if (now !== undefined && [...entry.use.powers].every((power) => now.has(power))) continue
      if (disconnect || !entry.gone) gone++
      entry.gone = true
      if (disconnect) this.#end(credential)
    }
    if (failures.length > 0) throw failures[0]
    return gone
  }

  close(): void {
    for (const { timer } of this.#entries.values()) timer?.cancel()
    this.#entries.clear()
  }

  /** Unless it was given more time meanwhile. */
  async #expired(credential: string): Promise<void> {
    const still = await this.#entries
      .get(credential)
      ?.use.still()
      .catch(() => undefined)
    if (still === undefined) this.#end(credential)
  }

  #end(credential: string): void {
    const entry = this.#entries.get(credential)
    if (entry === undefined) return
    this.#entries.delete(credential)
    entry.timer?.cancel()
    entry.controller.abort(new KithError('ACCESS_DENIED', 'what this connection came in with does not count any more'))
  }
}
