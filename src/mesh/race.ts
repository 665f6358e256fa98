import type { Clock, Timer } from '../core/clock.ts'
import { KithError } from '../core/errors.ts'

/** Between two starts, and attempts under way at once (protocol.md PN-8; RFC 8305, section 5). */
export const STAGGER_MS = 250
export const AT_ONCE = 4

export interface RaceOptions<C, T> {
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly attempt: (candidate: C, signal: AbortSignal) => Promise<T>
  /** Told of each attempt that failed before anybody won. */
  readonly onFailure?: (candidate: C, error: unknown) => void
  readonly staggerMs?: number
  readonly atOnce?: number
}

export type RaceResult<T> = { readonly won: true; readonly value: T } | { readonly won: false; readonly errors: readonly unknown[] }

/**
 * Tries candidates in order: the next one starts when the one before has failed or after a moment, and never more than a few at once. The first success
 * wins and the rest are aborted; its own signal stays quiet. Rejects only with the signal's reason.
 */
export function race<C, T>(candidates: readonly C[], options: RaceOptions<C, T>): Promise<RaceResult<T>> {
  const { clock, signal, attempt, onFailure, staggerMs = STAGGER_MS, atOnce = AT_ONCE } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const stops: Set<AbortController> = new Set()
    const errors: unknown[] = []
    let next = 0
    let running = 0
    let over = false
    let timer: Timer | undefined
    const finish = (settle: () => void): void => {
      if (over) return
      over = true
      timer?.cancel()
      signal.removeEventListener('abort', abort)
      settle()
      for (const stop of stops) stop.abort(signal.aborted ? signal.reason : new KithError('ABORTED', 'another attempt was faster'))
      stops.clear()
    }
    const abort = (): void => finish(() => reject(signal.reason))
    const start = (): void => {
      timer?.cancel()
      if (over) return
      const candidate = candidates[next] as C
      next++
      running++
      const stop = new AbortController()
      stops.add(stop)
      attempt(candidate, stop.signal).then(
        (value) => {
          stops.delete(stop)
          finish(() => resolve({ won: true, value }))
        },
        (error: unknown) => {
          stops.delete(stop)
          if (over) return
          running--
          errors.push(error)
          onFailure?.(candidate, error)
          proceed(true)
        },
      )
      proceed(false)
    }
    const proceed = (now: boolean): void => {
      if (over) return
      if (next >= candidates.length) {
        if (running === 0) finish(() => resolve({ won: false, errors }))
        return
      }
      if (running >= atOnce) return
      if (now) start()
      else timer = clock.after(staggerMs, start)
    }
    signal.addEventListener('abort', abort, { once: true })
    proceed(true)
  })
}
