import type { ManualClock, Timer } from '../../../src/core/clock.ts'

/** Ends with the run it belongs to. */
export interface RunClock extends ManualClock {
  stop(): void
}

export function runClock(clock: ManualClock): RunClock {
  const timers = new Set<Timer>()
  let stopped = false
  return Object.assign(Object.create(clock) as ManualClock, {
    after(ms: number, run: () => void): Timer {
      const timer = clock.after(stopped ? 2 ** 50 : ms, () => {
        timers.delete(timer)
        run()
      })
      if (stopped) timer.cancel()
      else timers.add(timer)
      return {
        cancel: () => {
          timers.delete(timer)
          timer.cancel()
        },
      }
    },
    stop() {
      stopped = true
      for (const timer of timers) timer.cancel()
    },
  })
}
