import type { Clock } from '../../src/core/clock.ts'

/** A wall clock that stands still until it is set. */
export function manualClock(start: number): Clock & { set(now: number): void } {
  let now = start
  return {
    now: () => now,
    monotonic: () => now,
    after: () => ({ cancel: () => undefined }),
    set(value) {
      now = value
    },
  }
}
