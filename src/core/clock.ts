/** Time as everything above receives it: passed in, never read from a global, so that the simulator can own it. */
export interface Clock {
  /** Wall time in whole ms since the Unix epoch. May jump when the system’s clock is set. */
  now(): number
  /** Monotonic time in ms from an arbitrary start; for deadlines and durations. */
  monotonic(): number
  /** Calls `run` once after `ms`; the timer does not keep the process alive unless `keepAlive`. */
  after(ms: number, run: () => void, options?: { keepAlive?: boolean }): Timer
}

export interface Timer {
  cancel(): void
}

/** Node fires timers beyond 24.8 days at once; they are waited for in steps. */
const MAX_TIMEOUT_MS = 0x7fff_ffff

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run, options) {
    let handle: NodeJS.Timeout
    const arm = (left: number): void => {
      handle = setTimeout(left > MAX_TIMEOUT_MS ? () => arm(left - MAX_TIMEOUT_MS) : run, Math.min(left, MAX_TIMEOUT_MS))
      if (options?.keepAlive !== true) handle.unref()
    }
    arm(ms)
    return { cancel: () => clearTimeout(handle) }
  },
}

/** Resolves after `ms` of `clock`'s time; rejects with the signal's reason when aborted. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason)
    const abort = (): void => {
      timer.cancel()
      reject(signal?.reason)
    }
    const timer = clock.after(
      ms,
      () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      },
      { keepAlive: true },
    )
    signal?.addEventListener('abort', abort, { once: true })
  })
}

export { type ManualClock, manualClock } from './manual-clock.ts'
